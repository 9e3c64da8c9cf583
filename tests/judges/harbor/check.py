"""Judges tasks and trajectories as Harbor does.

    check.py task DIRECTORY...        loads each as a task
    check.py trajectory FILE...       validates each as ATIF

Prints one JSON document per argument. Exit code 1 if one of them is not accepted.
"""

import json
import sys
from pathlib import Path


def task(path: Path) -> dict:
    from harbor.models.task.task import Task

    valid = Task.is_valid_dir(path)
    answer = {"path": str(path), "valid": valid}
    if valid:
        loaded = Task(path)
        answer |= {
            "name": loaded.name,
            "instruction": loaded.instruction,
            "metadata": loaded.config.metadata,
            "verifier_timeout": loaded.config.verifier.timeout_sec,
            "checksum": loaded.checksum,
        }
    return answer


def trajectory(path: Path) -> dict:
    from harbor.utils.trajectory_validator import TrajectoryValidator

    validator = TrajectoryValidator()
    valid = validator.validate(path)
    return {"path": str(path), "valid": valid, "errors": [str(error) for error in validator.errors]}


def main() -> int:
    judge = {"task": task, "trajectory": trajectory}[sys.argv[1]]
    answers = [judge(Path(argument)) for argument in sys.argv[2:]]
    for answer in answers:
        print(json.dumps(answer, default=str))
    return 0 if answers and all(answer["valid"] for answer in answers) else 1


if __name__ == "__main__":
    sys.exit(main())
