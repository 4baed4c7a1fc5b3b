"""The prompts of the figures that run a real model: all different, all of about a dozen words."""

SUBJECTS = ("The river", "A lock keeper", "The old mill", "My sister", "The gate", "An engineer")
VERBS = ("waits for", "looks at", "remembers", "repairs", "draws", "sells")
OBJECTS = ("the turbine", "a small boat", "the high water", "a letter", "the bridge", "two horses")


def prompts(count: int, mark: str = "") -> list[str]:
    """`mark` keeps the prompts of one turn from being found in the prefix cache by the next."""
    made = []
    for number in range(count):
        subject = SUBJECTS[number % 6]
        verb, thing = VERBS[number // 6 % 6], OBJECTS[number // 36 % 6]
        made.append(f"{mark}{number}. {subject} {verb} {thing} in the morning, and then")
    return made
