r"""Our own pairs of a gold answer and an answer, by kind; the answer stands in a box. Written for these tests, one line per rule.

``SAME[kind]``: (gold, answer) that mean the same. ``DIFFERENT[kind]``: pairs that do not, or of which nobody can know it.
"""

Pairs = dict[str, list[tuple[str, str]]]

SAME: Pairs = {
    "integers": [
        ("72", "72"), ("72", "+72"), ("072", "72"), ("72", "72.0"), ("-72", "−72"), ("-5", "{-5}"), ("72", "$72$"), ("72", r"\(72\)"),
        ("72", "72."), ("72", r"\mathbf{72}"), ("72", r"\text{72}"), ("72", r"\;72\,"), ("0", "-0"), ("72", "(72)"), ("72", r"\left(72\right)"),
        ("72", "60+12"), ("72", r"8\cdot 9"), ("72", r"8 \times 9"), ("72", r"\frac{144}{2}"), ("72", r"{72}"), ("72", "72 "),
        ("6000000", "6,000,000"), ("6000000", r"6{,}000{,}000"), ("6000000", r"6\,000\,000"), ("6,000,000", "6000000"),
        ("1234567", r"1,\!234,\!567"), ("45000", "45 000"), ("12345", "12,345"), ("72", r"\boxed{72}"), ("72", r"\underline{72}"),
        ("-3", r"\minus 3") if False else ("-3", "- 3"), ("72", r"\displaystyle 72"), ("72", "７２"), ("3", r"\mathrm{3}"),
    ],
    "decimals": [
        ("0.75", ".75"), ("0.75", "0.750"), ("0.75", r"\frac34"), ("0.75", "3/4"), ("2.5", r"2\tfrac12"), ("2.5", "5/2"), ("1.25", "1 1/4"),
        ("-0.5", r"-\frac{1}{2}"), ("0.125", r"\frac{1}{8}"), ("1234.5", "1,234.5"), ("3.50", "3.5"), ("0,25", "0.25"), ("2500,75", "2500.75"),
        ("0.001", r"10^{-3}"), ("0.5", r"\frac{\sqrt{4}}{4}"), ("1.4142135623730951", r"\sqrt{2}"), ("3.1415926535", r"\pi"),
        ("0.333333333333", r"\frac13"), ("0.1666666666667", r"\frac{1}{6}"), ("31.4159", r"10\pi"), ("0.1\\overline{6}", r"\frac16"),
        (r"0.\overline{3}", r"\frac13"), (r"\frac{1}{3}", r"0.\overline{3}"), (r"\frac{41}{99}", r"0.\overline{41}"),
    ],
    "fractions": [
        (r"\frac{7}{12}", r"\dfrac{7}{12}"), (r"\frac{7}{12}", "7/12"), (r"\frac{7}{12}", r"\frac{14}{24}"), (r"\frac{7}{12}", r"{7\over 12}"),
        (r"\frac{7}{12}", r"\tfrac7{12}"), (r"\frac{7}{12}", r"\frac7{12}"), (r"-\frac{7}{12}", r"\frac{-7}{12}"), (r"-\frac{7}{12}", r"-7/12"),
        (r"-\frac{7}{12}", r"\frac{7}{-12}"), (r"\frac{7}{12}", r"\frac{-7}{-12}"), (r"\frac{7}{12}", r"\left(\frac{7}{12}\right)"),
        (r"\frac{7}{3}", r"2\frac{1}{3}"), (r"\frac{7}{3}", r"2 \frac 1 3"), (r"\frac{7}{3}", "2 1/3"), ("\\\\frac{7}{12}", r"\frac{7}{12}"),
        ("\x0crac{7}{12}", r"\frac{7}{12}"), (r"\frac{7}{12}", r"$\frac{7}{12}$"), (r"\frac{7}{12}", r"7\div 12"), (r"\frac{7}{2}", "3.5"),
        (r"\frac{\frac{1}{2}}{3}", r"\frac16"), (r"\frac{22}{7}", r"3\frac{1}{7}"), (r"-\frac{5}{2}", r"-2\frac12"), ("7/12", r"\frac{7}{12}"),
        (r"\frac{1}{2}", "½"), (r"\frac{3}{4}", "¾"), (r"\frac{1}{1000}", "0.001"), (r"\frac{13}{10}", "1.3"),
    ],
    "constants": [
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), (r"5\sqrt{2}", r"\sqrt{50}"), (r"5\sqrt2", r"\sqrt{2}\cdot 5"), (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"),
        (r"\sqrt{7}", "√7"), (r"\sqrt{7}", "7^{1/2}"), (r"\sqrt{7}", r"7^{0.5}"), (r"2+\sqrt{3}", r"\frac{1}{2-\sqrt{3}}"), (r"\sqrt{7}", "sqrt(7)"),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), (r"\frac{\pi}{4}", r"\arctan 1"), (r"\frac{\pi}{4}", "π/4"), (r"\frac{3\pi}{4}", r"\frac34\pi"),
        (r"12\pi", r"12 \cdot \pi"), (r"12\pi", "12π"), (r"12\pi", "12pi"), (r"e^2", r"\mathrm{e}^2"), (r"e^{2}", r"\exp(2)"), (r"\ln 8", r"3\ln 2"),
        (r"\log_{10} 1000", "3"), (r"\log_3 81", "4"), (r"\sin 30^\circ", r"\frac12"), (r"\cos\frac{\pi}{3}", "0.5"), (r"7!", "5040"),
        (r"\binom{8}{3}", "56"), (r"{8 \choose 3}", "56"), (r"\dbinom{8}{3}", r"\frac{8!}{3!5!}"), (r"2^{10}", "1024"), (r"2^{10}-1", "1023"),
        (r"3+4i", r"4i+3"), (r"\frac{1+i}{2}", r"\frac12+\frac12 i"), (r"-i", r"\frac{1}{i}"), (r"e^{i\pi/2}", "i"), (r"|{-5}|", "5"),
        (r"\lfloor 3.7 \rfloor", "3"), (r"\left\lceil \frac{7}{2}\right\rceil", "4"), (r"6.02\times10^{23}", r"6.02 \cdot 10^{23}"),
        (r"3\times 10^{-4}", "0.0003"), ("3e-4", r"3\times 10^{-4}"), (r"10^{100}", r"10^{50}\cdot 10^{50}"), (r"2^{1000}+1", r"1+2^{1000}"),
        (r"\frac{\sqrt{5}-1}{2}", r"\frac{-1+\sqrt5}{2}"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{3}+\sqrt{2}"), (r"\frac{1}{\sqrt{2}+1}", r"\sqrt2-1"),
        (r"\tan 75^{\circ}", r"2+\sqrt{3}"), (r"\cos 36^\circ", r"\frac{1+\sqrt{5}}{4}"), (r"\infty", "∞"), (r"-\infty", r"-\infty"), (r"+\infty", r"\infty"),
    ],
    "formulas": [
        ("3x+6", "3(x+2)"), ("x^2-1", "(x-1)(x+1)"), (r"\frac{x+1}{2}", r"\frac{x}{2}+\frac12"), ("2n+1", "1+2n"), ("ab", "ba"), (r"a\cdot b", "ab"),
        (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"), ("2^{n+1}", r"2\cdot 2^n"), ("4^n", "2^{2n}"),
        (r"\frac{1}{x^2}", "x^{-2}"), (r"\sqrt{x}", "x^{1/2}"), (r"\sin^2 x", r"1-\cos^2 x"), (r"\sin 2x", r"2\sin x\cos x"), (r"\ln(x^2+1)", r"\ln(1+x^2)"),
        ("e^{-x}", r"\frac{1}{e^x}"), (r"x^2+C", "C+x^2"), (r"(x-1)^2", "x^2-2x+1"), (r"-x+y", "y-x"), (r"\frac{a}{b+c}", r"a/(b+c)"),
        (r"\frac{a}{b}", "a/b"), ("x^{10}", "x^10"), (r"2\pi r", r"2 r \pi"), (r"\frac{4}{3}\pi r^3", r"\frac{4\pi r^3}{3}"), ("y", "y"), (r"\alpha+\beta", r"\beta+\alpha"),
        ("a_1+a_2", "a_2 + a_1"), ("a_{n}", "a_n"), (r"x_{1}", "x_1"), (r"n!", r"n\cdot (n-1)!"), (r"(-1)^{n}", r"\cos(n\pi)"), ("x^{2}y", "yx^2"),
        ("f(x)=x+1", "x+1"), ("x+1", "f(x)=x+1"), ("f(x) = 2x", "y = 2x"), (r"P(x)=x^2+1", r"P(x) = 1 + x^2"), (r"|x|", r"\sqrt{x^2}"), ("k^2", r"k\times k"),
        (r"\frac{3}{x-2}", r"-\frac{3}{2-x}"), (r"x\ln x - x", r"x(\ln x-1)"), (r"\tan x", r"\frac{\sin x}{\cos x}"), ("6xy", "6yx"), (r"\omega t", r"t\omega"),
        (r"\frac{x}{\sqrt{1-x^2}}", r"x(1-x^2)^{-1/2}"), (r"10x - 3", r"10x-3"), (r"5p", r"5 \cdot p"), (r"\lambda^{2}", r"\lambda\lambda"), (r"\hat{x}", r"\hat{x}"),
    ],
    "sets and lists": [
        (r"\{2,4,6\}", r"\{6,4,2\}"), (r"\{2,4,6\}", r"2,4,6"), ("2,4,6", "6, 2, 4"), ("2, 4", r"2 \text{ and } 4"), ("2, 4", "2 and 4"), ("2, 4", r"2\text{ or }4"),
        (r"\{2, 4\}", r"\left\{2,4\right\}"), (r"\{5\}", "5"), ("5", r"\{5\}"), (r"1,\frac12", r"0.5,1"), ("2,4", "2;4"), (r"\pm 3", "3,-3"), (r"\pm 3", r"\{-3, 3\}"),
        (r"3,-3", r"\pm3"), (r"2\pm\sqrt{5}", r"2+\sqrt5, 2-\sqrt5"), (r"\frac{1\pm\sqrt{5}}{2}", r"\frac{1+\sqrt5}{2}, \frac{1-\sqrt5}{2}"), (r"x=2,x=4", "2,4"),
        ("x=2, 4", "x=4,2"), (r"x=2 \text{ or } x=4", r"x \in \{2,4\}"), ("x=2, y=3", "(2,3)"), ("(2,3)", "x=2, y=3"), ("x=2,y=3", "y=3,x=2"), ("x=2, y=3", "2, 3"),
        (r"\emptyset", r"\varnothing"), (r"\emptyset", r"\{\}"), (r"\{1,2\}\cup\{3\}", r"\{1,2,3\}"), (r"\{(1,2),(3,4)\}", r"(3,4),(1,2)"), (r"1, 2, 3", r"1,2,\text{ and }3"),
        (r"\{1, 1, 2\}", r"\{1,2\}"), ("a, b", "b, a"), (r"\text{2 and 4}", "2, 4"), (r"n=3,n=5", "3 \\text{ and } 5"), (r"\{x, y\}", r"\{y, x\}"), ("17, 4, 9", "4,9,17"),
        (r"\sqrt{2}, -\sqrt{2}", r"\pm \sqrt{2}"), (r"1, 2, \ldots, 9", r"1, 2, \dots, 9"), ("-1, 0, 1", r"\{-1,0,1\}"), ("0; 1; 2", "0, 1, 2"),
        (r"\{0\}\cup\{2\}", "0,2"), ("[2, 4]", "[2,4]"), ("[1,2,3]", "(1,2,3)") ,
    ],
    "tuples": [
        ("(3,-1)", "(3, -1)"), ("(3,-1)", r"\left(3,-1\right)"), ("(3,-1)", r"(\frac{6}{2}, -1)"), ("(3,-1)", r"\langle 3,-1\rangle") if False else ("(3,-1)", "(3.0,-1)"),
        ("(x,y)=(3,-1)", "(3,-1)"), ("(3,-1)", "(x,y)=(3,-1)"), ("(1,2,3)", "(1, 2, 3)"), ("(3;-1)", "(3,-1)"), (r"(0,0),(1,1)", r"(1,1),(0,0)"), ("(3,-1)", r"$(3,-1)$"),
        ("(1,1),(2,2)", r"(2,2) \text{ and } (1,1)"), (r"(a,b)=(1,2),(2,1)", r"(2,1),(1,2)"), (r"\left(\frac12,\frac13\right)", "(0.5, 1/3)"), ("(1, 2)", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ],
    "intervals": [
        ("[2,5)", r"\left[2,5\right)"), (r"(-\infty,4]", r"x\le 4"), ("x>4", r"(4,\infty)"), (r"x\ge -1", r"[-1,+\infty)"), (r"-1<x<3", "(-1,3)"), (r"(-1,3)", r"-1<x<3"),
        (r"x\in(0,1)", "(0,1)"), (r"(0,1)", r"x \in (0,1)"), (r"(-\infty,0)\cup(2,\infty)", r"x<0\text{ or }x>2"), (r"(2,\infty)\cup(-\infty,0)", r"(-\infty,0)\cup(2,\infty)"),
        (r"x \ne 2", r"(-\infty,2)\cup(2,\infty)"), (r"\mathbb{R}\setminus\{2\}", r"(-\infty,2)\cup(2,\infty)"), (r"\mathbb{R}", r"(-\infty,+\infty)"), ("a>3", "3<a"), ("a>3", "a > 3"),
        (r"x\leq 3", r"x\leqslant 3"), (r"x\leq 3", "x<=3"), (r"x\leq 3", "x≤3"), (r"[0,1]\cup[1,2]", "[0,2]"), (r"0\le x\le 2", "[0,2]"), (r"2\le x \text{ and } x\le 5", "[2,5]"),
        ("[0.5,1)", r"[\frac12,1)"), (r"(0,\sqrt2)", r"(0, 2^{1/2})"), (r"2x<6", "x<3"), (r"(1,2)\cup(2,3)", r"(2,3)\cup(1,2)"), (r"\left(-\infty, \frac{3}{2}\right]", r"x \le 1.5"),
        (r"\{x \mid x > 2\}", r"(2,\infty)"), (r"(2,\infty)", r"\{x : x>2\}"), (r"m>2", r"m\in(2,+\infty)"),
    ],
    "equations": [
        ("x=7", "7"), ("7", "x=7"), ("7", r"x = 7"), ("7", r"n=7"), ("7", r"\angle A = 7"), ("7", "AB=7"), ("7", r"|AB| = 7"), ("7", r"f(2)=7"), ("7", r"\text{Answer: } 7"), ("7", "a+b=7"),
        ("7", "3+4=7"), ("7", "=7"), ("7", r"\approx 7"), ("x=7", "x=14/2"), ("y=2x+1", "y=1+2x"), ("y=2x+1", "2x-y+1=0"), ("y=2x+1", "y-2x=1"), ("2x+3y=6", "4x+6y=12"),
        ("x^2+y^2=4", r"\frac{x^2}{4}+\frac{y^2}{4}=1"), ("x+y=3", "y=3-x"), (r"\frac{x^2}{9}-\frac{y^2}{16}=1", "16x^2-9y^2=144"), (r"y=\frac12 x", "x=2y"), ("a=b", "b=a"), ("x<y", "y>x"),
        ("S_n=n^2", "n^2"), ("a_n = 2n-1", "2n-1"), ("n^2", "a_n=n^2"), (r"\frac{AB}{CD}=\frac{2}{3}", r"\frac23"), (r"\cos A = \frac12", r"\frac{1}{2}"), ("x=1", "x = 1"),
        ("(x-1)^2+(y-2)^2=9", "x^2+y^2-2x-4y-4=0"), ("7", r"x=\boxed{7}") if False else ("7", r"\frac{14}{2}=7"), ("7", r"x=2+5=7"),
    ],
    "matrices": [
        (r"\begin{pmatrix}1&0\\0&2\end{pmatrix}", r"\begin{bmatrix}1&0\\0&2\end{bmatrix}"), (r"\begin{pmatrix}1&0\\0&2\end{pmatrix}", r"\begin{pmatrix} 1 & 0 \\ 0 & 2 \\ \end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"), (r"\begin{pmatrix}0.5\\2\end{pmatrix}", r"\begin{pmatrix}\frac12\\2\end{pmatrix}"), (r"\begin{pmatrix}2&4\end{pmatrix}", r"2\begin{pmatrix}1&2\end{pmatrix}"),
        (r"\begin{bmatrix}x&1\\1&x\end{bmatrix}", r"\begin{bmatrix}x & 1 \\ 1 & x\end{bmatrix}"), (r"\begin{vmatrix}1&2\\3&5\end{vmatrix}", "-1"), (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left[\begin{array}{c}1\\2\end{array}\right]"),
        (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"), (r"\begin{pmatrix}1 & 2\\ 3 & 4\end{pmatrix}", r"\begin{matrix}1&2\\3&4\end{matrix}"),
    ],
    "units": [
        ("8", r"8\text{ cm}"), ("8", r"8\,\mathrm{cm}"), ("8", r"8~\text{apples}"), ("8", "8 apples"), (r"8\text{ cm}", "8"), (r"8\text{ cm}^2", r"8\,\text{cm}^2"), (r"8\text{ m}", r"800\text{ cm}"),
        (r"8\text{ cm}", r"8\text{ centimeters}"), ("8", r"8^\circ"), (r"8^\circ", "8"), (r"8^{\circ}", r"8°"), ("8", r"8\text{ degrees}"), (r"45^\circ", r"\frac{\pi}{4}"), (r"\$8", "8"), ("8", r"\$8"),
        ("8.50", r"\$8.50"), (r"\$8.50", r"8.5\text{ dollars}"), (r"8\text{ dollars}", r"\$8"), ("1200", r"\$1,200"), (r"2\text{ hours}", r"120\text{ minutes}"), (r"30\text{ km/h}", "30"),
        (r"3 \text{ m/s}", r"3\,\mathrm{m/s}"), ("8", r"8\ \text{square units}"), (r"8 \text{ square feet}", "8"), ("8", r"8\text{ ways}"), (r"12 \text{ inches}", r"1 \text{ foot}"), ("9.8", r"9.8\,\mathrm{m/s^2}"),
        (r"50\text{ mph}", r"50\text{ miles per hour}") if False else (r"50\text{ mph}", "50"), ("3", r"3\text{ pairs of shoes}"), (r"5\text{ million}", "5000000"),
    ],
    "percent": [
        (r"35\%", r"35\%"), (r"35\%", "35%"), (r"35\%", r"35\text{ percent}"), (r"35\%", "0.35"), ("0.35", r"35\%"), (r"35\%", r"\frac{7}{20}"), (r"12.5\%", r"\frac18"), (r"35\%", r"35 \%"), (r"35\text{ percent}", r"35\%"),
    ],
    "ratios and bases": [
        ("3:4", "3:4"), ("3:4", "6:8"), ("3:4", r"\frac34"), ("2:3:4", "4:6:8"), ("10:45", "10:45"), (r"3 : 4", r"3\colon 4") if False else ("3 : 4", "3:4"), ("1011_2", r"1011_{2}"), ("1011_2", r"(1011)_2") , ("25_{10}", "25"),
    ],
    "words": [
        (r"\text{yes}", "Yes"), ("No", r"\text{no}"), ("no solution", r"\text{No solution}"), (r"\text{no solutions}", "there is no solution"), (r"\text{(D)}", "D"), ("D", r"\textbf{(D)}"), ("D", r"\text{D}"),
        ("(D)", r"\text{(D) }17"), ("D", r"\mathrm{(D)}"), ("B", r"\text{B) } 12"), (r"\text{odd}", "odd"), ("even", r"\text{Even}"), (r"\text{Monday}", "Monday"), (r"\text{Does not exist}", "DNE"), ("true", r"\text{True}"),
        ("ellipse", r"\text{an ellipse}"), (r"\text{Evelyn}", "Evelyn"), ("infinitely many", r"\text{infinitely many solutions}"), (r"\text{None}", "none"), ("A", r"\boxed{A}"), (r"\text{Friday}", r"\text{friday}"),
        (r"\text{right triangle}", r"\text{Right Triangle}"), (r"\text{east}", r"\textbf{East}"),
    ],
}  # fmt: skip

DIFFERENT: Pairs = {
    "integers": [
        ("72", "27"), ("72", "-72"), ("-72", "72"), ("72", "720"), ("72", "7.2"), ("72", "7 2"), ("72", "72,000"), ("72", "172"), ("6000000", "600000"), ("123456789123456789", "123456789123456788"), ("72", "72!"),
        ("72", "72x"), ("72", "x"), ("72", "72, 73"), ("72", "71.99999"), ("72", "72.0001"), ("72", r"\frac{72}{0}"), ("72", "0x48"), ("72", "LXXII"), ("72", "72_8"), ("72", "72^2"), ("72", "7^2"), ("12", "1,2"),
        ("72", "72 = 73"), ("72", "72 or 73"), ("72", "not 72"), ("72", r"\neq 72"), ("72", "<72"), ("72", r"\ge 72"), ("72", "72?73"), ("1", "1e1"), ("12", r"1\cdot 2"), ("72", r"72\pm 1"), ("6000000", "6,00,0000"), ("0", "1"), ("0", ""),
        ("72", "seventy-three"), ("72", r"\text{72 is wrong}"), ("72", "72 - 1"), ("5", "5i"), ("9", "3^3"),
    ],
    "decimals": [
        ("0.75", "0.7"), ("0.75", "0.76"), ("0.3", r"\frac13"), ("0.33", r"\frac13"), ("0.5", "0.05"), ("0.5", "5"), (r"\frac13", "0.3"), (r"\frac13", "0.3333"), (r"\frac{2}{3}", "0.67"), (r"\pi", "3.1416"), ("3.14", r"\pi"), (r"\sqrt2", "1.414"), ("1.5", "1,5,0"),
        ("0.1234", "0.1235"), ("1.4142135623", "1.4142135624"), ("2.718", "2.719"), ("100.5", "100"), ("1000.5", "10005"), ("3.1415926", "3.1415927"), ("0.001", "0.002"),
    ],
    "fractions": [
        (r"\frac{7}{12}", r"\frac{12}{7}"), (r"\frac{7}{12}", r"-\frac{7}{12}"), (r"\frac{7}{12}", r"\frac{7}{13}"), (r"\frac{7}{12}", "7"), (r"\frac{7}{12}", "12"), (r"\frac{7}{3}", r"2\cdot\frac13"), (r"\frac{7}{12}", "7,12"), (r"\frac{7}{12}", r"\frac{7}{}"),
        (r"\frac{7}{12}", r"\frac{7x}{12}"), (r"\frac{1}{2}", r"\frac{1}{2}\cdot\frac{1}{2}"), (r"\frac12", "1 2"), (r"\frac{2}{3}", r"2\frac{2}{3}"), (r"\frac{7}{12}", "(7, 12)"), (r"\frac{7}{12}", "7:21"),
    ],
    "constants": [
        (r"5\sqrt{2}", r"2\sqrt{5}"), (r"5\sqrt{2}", r"-5\sqrt{2}"), (r"\sqrt{7}", "7"), (r"\sqrt{7}", r"\sqrt[3]{7}"), (r"12\pi", "12"), ("12", r"12\pi"), (r"12\pi", r"12\pi^2"), (r"\frac{\pi}{4}", r"\frac{4}{\pi}"), (r"3+4i", "3-4i"), ("3+4i", "4+3i"), ("3+4i", "5"),
        (r"e^2", "2e"), (r"\ln 8", r"\log_{10} 8"), (r"2^{10}", r"10^2"), (r"7!", "5041"), (r"2^{1000}", r"2^{1000}+1"), (r"10^{100}", r"10^{100}+1"), (r"10^{-100}", "0"), (r"\frac{1}{100!}", "0"), (r"2+\sqrt{3}", r"2-\sqrt{3}"), (r"\infty", r"-\infty"), (r"\infty", "10^{10}"),
        (r"\sin 30^\circ", r"\sin 30"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}"), (r"\frac{1}{0}", r"\frac{1}{0}+1"), ("0", r"\frac{0}{0}"), (r"e", r"\pi"), ("i", "1"), (r"\sqrt{-4}", "-2"), (r"e^{10^{10}}", r"e^{10^{10}}+1"), (r"3^{3^{3^3}}", r"3^{3^{3^3}}-1"),
    ],
    "formulas": [
        ("3x+6", "3x+2"), ("x^2-1", "(x-1)^2"), ("2n+1", "2n-1"), ("x", "y"), ("2x", "2y"), ("x^2", "2x"), ("x^2", "x"), (r"\sin x", r"\cos x"), (r"\sin x", "x"), (r"\frac{x}{y}", r"\frac{y}{x}"), ("x+1", "1"), ("x+C", "x"), ("a_1", "a_2"), ("a_1", "a"), ("x", "X"), (r"\alpha", "a"),
        ("n!", "n"), (r"\binom{n}{2}", r"\binom{n}{3}"), ("2^n", "n^2"), (r"\ln x", r"\log_2 x"), ("f(x)=x+1", "x-1"), ("f(x)=x+1", "f(x)=x"), ("e^x", "e^{-x}"), (r"\frac{x+1}{2}", r"x+\frac12"), ("(x+1)^2", "x^2+1"), ("x^{10}", "x^1 0"), ("|x|", "x"), (r"\sqrt{x^2}", "x"),
        (r"x^2+1", r"x^{2+1}"), ("ab", "a+b"), (r"\frac{1}{x+y}", r"\frac1x+\frac1y"), ("x", "1"), ("x-y", "y-x"), (r"\hat{x}", "x"), ("xy", "x y z"),
    ],
    "sets and lists": [
        (r"\{2,4,6\}", r"\{2,4\}"), ("2,4", "2,4,6"), ("2,4", "2"), ("2", "2,4"), ("2,4", "24"), ("2,4", "2.4"), ("2,4", "2,5"), (r"\pm 3", "3"), ("3", r"\pm 3"), (r"\pm 3", "-3"), (r"\{1,2\}", "(1,2)"), ("x=2,y=3", "x=3,y=2"), (r"\emptyset", "0"), ("0", r"\emptyset"), (r"\emptyset", r"\{0\}"),
        (r"\{1,2\}", r"[1,2]"), (r"1,2,\ldots,9", r"1,2,\ldots,10"), (r"1, 2, 3", r"1, 2, 3, \ldots"), ("2,4", "2+4"), ("a,b", "a,c"), (r"2\pm\sqrt5", r"2+\sqrt5"), (r"\{(1,2),(3,4)\}", r"\{(1,2)\}"), ("x=2", "x=2,x=4"), ("1,2", "-1,-2"), ("2, 4", "2 and 4 and 6"), ("1,1,2", "1,2,2"), (r"\{1,2,3\}", "6"),
    ],
    "tuples": [
        ("(3,-1)", "(-1,3)"), ("(3,-1)", "(3,1)"), ("(3,-1)", "3"), ("(3,-1)", "-1"), ("(3,-1)", "[3,-1]"), ("(3,-1)", "(3,-1,0)"), ("(1,2,3)", "(1,3,2)"), ("(0,0),(1,1)", "(0,1),(1,0)"), ("(0,0),(1,1)", "(0,0)"), ("(1,2)", "1.2"), ("(1,2)", "12"), ("(x,y)=(3,-1)", "(x,y)=(3,2)"), ("(3,-1)", r"\{3,-1\}"),
        ("(3,-1)", "(a,b)=(-1,3)"), ("(3,-1)", "(y,x)=(3,-1)"), ("(1,2),(3,4)", "(1,2,3,4)"), ("(1,2,3,4)", "(1,2),(3,4)"),
    ],
    "intervals": [
        ("[2,5)", "(2,5)"), ("[2,5)", "[2,5]"), ("(2,5)", "(2,6)"), ("x>4", "x<4"), ("x>4", r"x\ge4"), ("x>4", "4"), ("4", "x>4"), (r"(-\infty,0)\cup(2,\infty)", r"(0,2)"), (r"(-\infty,0)\cup(2,\infty)", r"(-\infty,0)"), ("-1<x<3", "x<3"), ("-1<x<3", r"x>-1 \text{ or } x<3"), (r"\mathbb{R}", r"\mathbb{Z}"), (r"\mathbb{R}", r"(0,\infty)"),
        ("(0,1)", r"\{0,1\}"), ("x>4", "y>5"), (r"[0,1)\cup(1,2]", "[0,2]"), ("[0,1]", "1"), (r"x\in(0,1)", r"x\in[0,1]"), (r"(0,\infty)", r"(0,10^{10})"), ("a>3", "a<3"), ("(2,5)", "(5,2)"), (r"(2,5)", r"2,5"),
    ],
    "equations": [
        ("x=7", "8"), ("x=7", "x=8"), ("x=7", "y=8"), ("7", "7=8"), ("7", "8=7"), ("7", "7=7"), ("7", "0=0"), ("7", "x=8"), ("7", "x+7"), ("7", "x=y"), ("y=2x+1", "y=2x"), ("y=2x+1", "2x+1=0"), ("y=2x+1", "x=2y+1"), ("2x+3y=6", "2x+3y=7"), ("2x+3y=6", "3x+2y=6"), ("x+y=3", "3"), ("x+y=3", "x-y=3"), ("x^2+y^2=4", "x^2+y^2=2"), ("x<y", "y<x"),
        (r"\cos A=\frac12", r"\sin A=\frac12"), ("y=2x+1", "7"), ("x=7", "7x"), ("x=7", r"x\ne 7"), ("x=7", r"x>7"), ("7", "2x=14"), ("7", "x=7=8"), ("x=7", "x = 7y"), ("x=2,y=3", "x=2"), ("7", "8 - 1 = 6"), ("4", "2 + 2 = 5"), ("5", "2 + 2 = 5"),
    ],
    "matrices": [
        (r"\begin{pmatrix}1&0\\0&2\end{pmatrix}", r"\begin{pmatrix}1&0\\0&3\end{pmatrix}"), (r"\begin{pmatrix}1&0\\0&2\end{pmatrix}", r"\begin{pmatrix}1&0&0&2\end{pmatrix}"), (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"), (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "10"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"), (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\{1,2\}"),
    ],
    "units": [
        (r"8\text{ cm}", r"9\text{ cm}"), (r"8\text{ cm}", r"8\text{ m}"), (r"8\text{ hours}", r"8\text{ minutes}"), ("8", r"9\text{ cm}"), (r"\$8", r"\$9"), (r"8^\circ", r"9^\circ"), (r"8\text{ apples}", r"8\text{ oranges}"), ("8", r"8\text{ million}"), ("8", r"8\text{ or }9"), (r"\$8", r"8\text{ cents}"), (r"45^\circ", r"\frac{\pi}{3}"),
        (r"8\text{ cm}^2", r"8\text{ cm}^3"), ("8", r"80\text{ mm}") , (r"2\text{ hours}", r"2\text{ minutes}"),
    ],
    "percent": [(r"35\%", "35"), ("35", r"35\%"), (r"35\%", r"36\%"), (r"35\%", "3.5"), ("0.35", r"0.35\%"), (r"35\%", "0.35%")],
    "ratios and bases": [("3:4", "4:3"), ("10:45", "45:10"), ("1011_2", "1011"), ("1011_2", "1011_3"), ("1011", "1011_2"), ("10:30", r"\frac13"), ("2:3:4", "2:4:3"), ("3:4", "3,4"), ("11", "1011_2")],
    "words": [
        (r"\text{yes}", "no"), ("D", "C"), ("D", "A, D"), ("D", r"\text{not D}"), ("D", "AD"), ("no solution", "0"), ("no solution", r"\text{one solution}"), ("odd", "even"), ("true", "false"), ("no solution", r"x=1"), ("5", r"\text{five hundred}"), (r"\text{Monday}", r"\text{Tuesday}"), ("5", r"\text{no solution}"), ("infinitely many", "infinity of the plane"),
        (r"\text{increasing}", r"\text{not increasing}"), ("ABC", "ACB"), (r"\text{Evelyn}", r"\text{Evelyn or Bob}"), (r"\text{right}", r"\text{left}"), ("A", r"\text{A or B}"), ("204", r"\text{the gold answer}"), ("7", r"\text{correct}"), ("C", r"\text{(A) or (C)}"),
    ],
}  # fmt: skip
