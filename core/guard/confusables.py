"""Letters and signs that look like Latin ones, written for this project: Cyrillic, Greek, a few Latin strangers.

Only lone look-alikes are here: what NFKD folds itself (full-width, mathematical and circled letters, accents) is not.
A text in Cyrillic or Greek becomes partly Latin by it; that is for matching alone, and rules are folded alike.
"""

_CYRILLIC = {
    "\u0430": "a", "\u0435": "e", "\u043e": "o", "\u0440": "p", "\u0441": "c", "\u0443": "y", "\u0445": "x",
    "\u0456": "i", "\u0458": "j", "\u0455": "s", "\u043a": "k", "\u043c": "m", "\u0442": "t", "\u0432": "b",
    "\u043d": "h", "\u0433": "r", "\u043f": "n", "\u0438": "u", "\u044c": "b", "\u04af": "y", "\u04b1": "y",
    "\u04bb": "h", "\u0501": "d", "\u051b": "q", "\u051d": "w", "\u04cf": "l", "\u0493": "f", "\u04d5": "ae",
    "\u0410": "A", "\u0412": "B", "\u0415": "E", "\u0417": "3", "\u0406": "I", "\u0408": "J", "\u041a": "K",
    "\u041c": "M", "\u041d": "H", "\u041e": "O", "\u0420": "P", "\u0421": "C", "\u0405": "S", "\u0422": "T",
    "\u0423": "Y", "\u0425": "X", "\u04ae": "Y", "\u0492": "F", "\u0500": "D", "\u051a": "Q", "\u051c": "W",
    "\u04c0": "I", "\u042c": "b",
}  # fmt: skip
_GREEK = {
    "\u03b1": "a", "\u03b5": "e", "\u03b9": "i", "\u03ba": "k", "\u03bd": "v", "\u03bf": "o", "\u03c1": "p",
    "\u03c4": "t", "\u03c5": "u", "\u03c7": "x", "\u03c9": "w", "\u03b7": "n", "\u03b3": "y", "\u03c3": "o",
    "\u03b2": "b", "\u03f2": "c", "\u03f3": "j",
    "\u0391": "A", "\u0392": "B", "\u0395": "E", "\u0396": "Z", "\u0397": "H", "\u0399": "I", "\u039a": "K",
    "\u039c": "M", "\u039d": "N", "\u039f": "O", "\u03a1": "P", "\u03a4": "T", "\u03a5": "Y", "\u03a7": "X",
    "\u03f9": "C",
}  # fmt: skip
# Latin letters that no decomposition leads back to the plain ones, and small capitals.
_LATIN = {
    "\u0131": "i", "\u0237": "j", "\u00f8": "o", "\u00d8": "O", "\u0142": "l", "\u0141": "L", "\u0111": "d",
    "\u0110": "D", "\u0127": "h", "\u0126": "H", "\u0167": "t", "\u0166": "T", "\u0251": "a", "\u0261": "g",
    "\u0262": "g", "\u026a": "i", "\u029f": "l", "\u0274": "n", "\u0280": "r", "\u1d00": "a", "\u0299": "b",
    "\u1d04": "c", "\u1d05": "d", "\u1d07": "e", "\ua730": "f", "\u029c": "h", "\u1d0a": "j", "\u1d0b": "k",
    "\u1d0d": "m", "\u1d0f": "o", "\u1d18": "p", "\ua731": "s", "\u1d1b": "t", "\u1d1c": "u", "\u1d20": "v",
    "\u1d21": "w", "\u028f": "y", "\u1d22": "z", "\u0180": "b", "\u0199": "k", "\u01a5": "p", "\u01b6": "z",
    "\u2113": "l", "\u212e": "e",
}  # fmt: skip
# Armenian and Cherokee letters that fonts draw as Latin ones.
_OTHERS = {
    "\u0578": "n", "\u057d": "u", "\u0585": "o", "\u0570": "h", "\u0581": "g", "\u0584": "f", "\u13aa": "A",
    "\u13ac": "E", "\u13bb": "H", "\u13a2": "i", "\u13ab": "J", "\u13e6": "K", "\u13de": "L", "\u13b7": "M",
    "\u13c0": "G", "\u13e2": "P", "\u13da": "S", "\u13d4": "W", "\u13c3": "Z",
}  # fmt: skip
# White letters in black circles and squares, and those that flags are made of.
_EMOJI = {
    chr(first + place): chr(ord("A") + place)
    for first in (0x1F150, 0x1F170, 0x1F1E6)
    for place in range(26)
}
# Hyphens of every width, which models put into numbers; and the full stop that browsers take for one in a domain.
_SIGNS = dict.fromkeys("\u2010\u2011\u2012\u2013\u2043\u2212\u02d7\u058a", "-") | {"\u3002": "."}
LATIN = {**_CYRILLIC, **_GREEK, **_LATIN, **_OTHERS, **_EMOJI, **_SIGNS}
