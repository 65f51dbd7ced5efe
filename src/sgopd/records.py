"""The columns of every table that passes between stages (Parquet; pyarrow schemas). Knows no stage and no path."""

import pyarrow as pa

_ids = pa.list_(pa.int32())
_floats = pa.list_(pa.float32())

PROMPTS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("split", pa.string()),  # train, validation, or the name of a benchmark
        ("problem", pa.string()),
        ("answer", pa.string()),
        ("difficulty", pa.float32()),
        ("category", pa.string()),  # a class of problems reported on its own, e.g. flawed / other
        ("source", pa.string()),
    ]
)

ROLLOUTS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("response_ids", _ids),  # T tokens, EOS included when finish_reason is stop
        ("logprobs", _floats),  # T log-probs (nats) under the sampling model at temperature 1
        ("finish_reason", pa.string()),  # stop | length
        ("text", pa.string()),
    ]
)

VERDICTS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("verdict", pa.string()),  # correct | incorrect | no_answer | truncated | timeout | error
        ("reward", pa.float32()),  # R in {0, 1}
        ("answer", pa.string()),
        ("reason", pa.string()),
    ]
)

EVALUATIONS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("prompt_id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.float32()),
        ("sample_index", pa.int32()),
        ("verdict", pa.string()),
        ("reward", pa.float32()),
        ("truncated", pa.bool_()),
        ("n_tokens", pa.int32()),
    ]
)

METRICS = pa.schema([("step", pa.int32()), ("phase", pa.int32()), ("name", pa.string()), ("value", pa.float64())])

GATE_TOKENS = pa.schema(
    [
        ("step", pa.int32()),
        ("prompt_id", pa.string()),
        ("rollout_index", pa.int32()),
        ("verdict", pa.string()),
        ("reward", pa.float32()),
        ("group_advantage", pa.float32()),
        ("token_ids", _ids),
        ("tokens", pa.list_(pa.string())),
        ("delta", _floats),  # log pi_T - log pi_S per token
        ("log_ratio_ref", _floats),  # log pi_T - log pi_ref per token
        ("gate", pa.list_(pa.int8())),  # 1 consensus, 0 conflict, -1 neutral
        ("advantage", _floats),
    ]
)
