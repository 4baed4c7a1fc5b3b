"""What the customers of an invented shop write, for the two sides of the split.

`(a|b|c)` is a choice; `{topic}`, `{product}` and the other names in braces are filled in. The two sides share the
topics, which are what the teams are responsible for; no sentence, product or name stands on both.
"""

from dataclasses import dataclass

# What each team is responsible for.
TOPICS = {
    "billing": ("invoice", "bill", "payment", "receipt", "bank transfer", "credit card"),
    "delivery": ("parcel", "package", "courier", "delivery", "driver", "shipment"),
    "returns": ("return", "return label", "exchange", "wrong size", "wrong colour"),
    "repairs": ("repair", "warranty", "spare part", "broken handle", "broken switch"),
    "account": ("password", "account", "login", "user name", "email address"),
    "sales": ("discount", "offer", "catalogue", "gift card", "price list"),
}  # fmt: skip


@dataclass(frozen=True)
class Phrases:
    """One side of the split."""

    greetings: tuple[str, ...]
    requests: tuple[str, ...]
    orders: tuple[str, ...]  # how the order is named
    asides: tuple[str, ...]  # what has nothing to do with it; some hold another number
    endings: tuple[str, ...]
    products: tuple[str, ...]
    names: tuple[str, ...]


TRAINING = Phrases(
    greetings=("Hello,", "Hi,", "Good morning,", "Dear team,", "Hi there,", "Hello everyone,", "Dear {name},",
               "Good afternoon,", "", "", ""),
    requests=(
        "I have a (question|complaint|request) about the {topic} for the {product}.",
        "There is (a problem|a mistake|something wrong) with the {topic}.",
        "(Please|Could you) (look at|check|find) the {topic} for my {product}.",
        "(Who|Which of you) can help me with the {topic}?",
        "The {topic} (is|was) (wrong|not right|a mess|not what you promised|bad|late).",
        "(When|How|Why) (will|do|can) you (deal with|see to|send) the {topic}?",
        "The {product} is (fine|good|beautiful), but the {topic} is not.",
        "I (wrote|called|asked) about the {topic} (last week|twice|on Monday), and nobody answered.",
        "What about the {topic} for the {product}?",
        "My (wife|father|boss) (asks|wants to know) about the {topic}.",
        "I (do not|cannot) (understand|find|see|use) the {topic}.",
        "The {topic} (still does not work|is missing|never came|was forgotten).",
        "I bought a {product} and need help with the {topic}.",
        "Something (strange|bad) happened to the {topic} of the {product}.",
        "Can you (explain|change|send|show me) the {topic}?",
        "Your (letter|page) about the {product} says (nothing|too little) about the {topic}.",
        "It is the {topic} again.",
        "I am (angry|worried|sorry|surprised) about the {topic}.",
        "A {topic}, (please|if you can).",
        "Is there (a|any|no) {topic} for the {product}?",
        "You (forgot|lost) the {topic}!",
        "Without the {topic} the {product} is (no use to me|worth nothing).",
        "(About|On) the {topic}: (is it ready|what happened|can you help)?",
        "This is the (second|third) time that the {topic} (fails|is wrong).",
        "The {product} (came|is here). And the {topic}?",
        "(Nobody|No one) (knows|told me) (anything|enough) about the {topic}.",
        "(First|Now) the {topic}, then the {product}: what a (day|week)!",
        "Where (is|was) the {topic}?",
        "We (want|need) (a|another|a new) {topic} for this {product}.",
        "The {topic} (makes|made) me (sad|angry).",
    ),
    orders=(
        "My order number is {order}.",
        "The order is {order}.",
        "Order {order}.",
        "It is about order {order}.",
        "I mean order number {order}.",
        "The number of (the|my) order is {order}.",
        "(order {order})",
        "Order number {order}, please.",
        "Look at order {order}.",
        "You find it under order {order}.",
    ),
    asides=(
        "I paid {amount} euros.",
        "I live at {amount} (Mill|River|Station) Lane.",
        "I have been a customer for {few} years.",
        "I am {day} years old.",
        "I bought it on {day} (May|April|March).",
        "(There were|I saw) {few} of them.",
        "It took {day} (days|hours).",
        "My (neighbour|teacher|uncle) told me to write to you.",
        "The {product} stands in my (kitchen|garden|room).",
        "I have (a|one more) {product}, too.",
        "It is a present for {name}.",
        "", "", "", "", "", "",
    ),
    endings=("Thank you.", "Thanks, {name}", "Best wishes, {name}", "{name}", "Goodbye, {name}", "Please write soon.",
             "", ""),
    products=("kettle", "lamp", "chair", "radio", "clock", "coat", "table", "drill", "camera", "pump", "mirror",
              "bicycle", "tent", "stove", "toaster", "watch", "desk", "fan", "boat", "bell", "shirt", "bed", "knife",
              "basket", "book", "bag", "cup", "door", "hat", "bench"),
    names=("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Hugo", "Ivy", "Jack", "Ruth", "Sam", "Tom"),
)  # fmt: skip

TEST = Phrases(
    greetings=("Good evening,", "Good day,", "To the service desk:", ""),
    requests=(
        "I am not happy with the {topic} of this {product}.",
        "Do you know anything about the {topic}?",
        "We are waiting for news of the {topic}.",
        "My {product} is here. Now it is only the {topic} that troubles me.",
        "The {topic} for our {product} looks strange to me.",
        "Tell me more about the {topic}.",
        "Why is the {topic} so bad?",
        "I would like to talk about the {topic}.",
        "Since Friday I have had trouble with the {topic}.",
        "Somebody should see to the {topic} before the {product} is used.",
    ),
    orders=(
        "The order number: {order}.",
        "This is order {order}.",
        "I am writing about order {order}.",
        "On the letter it says order number {order}.",
    ),
    asides=(
        "It weighs {amount} kilos.",
        "We are a family of {few}.",
        "It was {day} June, I believe.",
        "I hope that you can help.",
        "", "", "",
    ),
    endings=("Kind regards, {name}", "Yours, {name}", "Many thanks.", "I wait for your answer.", ""),
    products=("blanket", "guitar", "heater", "ladder", "printer", "suitcase", "teapot", "umbrella"),
    names=("Karl", "Lena", "Maria", "Noah", "Olga", "Peter", "Rosa", "Theo"),
)  # fmt: skip
