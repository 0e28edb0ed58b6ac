"""Where states, and a bank learned from them, come from; and a check that two of them belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# In whose generated captions and in whose references the token is, or is not; the first is the paper's.
SAID_AND_THERE, SAID, SAID_BUT_ABSENT, THERE_BUT_UNSAID = (
    "said and there",
    "said",
    "said but absent",
    "there but unsaid",
)
SAMPLES = SAID_AND_THERE, SAID, SAID_BUT_ABSENT, THERE_BUT_UNSAID

# What states must share, beside their token and layer, to be joined or tested with each other. Those of "processor" (with
# the chat template) and "captions" (written or given) are not known of states of prompts and of older versions.
ALIKE = (
    "model",
    "prompt",
    "position",
    "references",
    "max_new_tokens",
    "generation",
    "samples",
    "processor",
    "captions",
)


POSITIONS_IN_WORDS = {
    "predicts": "position that predicts it (the paper's)",
    "own": "its own position (ours)",
    "last_input": "last input token",
    "completion_mean": "mean over the completion",
}


class HasProvenance:
    """Reads `provenance`, a dict that json can hold, by attributes."""

    provenance: dict

    @property
    def spellings(self) -> list[str]:
        """The target word's spellings; of joined states those of all words, of states of prompts none."""
        return self.provenance["token"]

    @property
    def tokens(self) -> list[str]:
        """The target words, each by its first spelling."""
        return list(self.provenance.get("tokens", self.spellings[:1]))

    @property
    def position(self) -> str:
        """Which position the states are of, such as "predicts" or "own"."""
        return self.provenance["position"]

    @property
    def position_in_words(self) -> str:
        """The same for people."""
        return POSITIONS_IN_WORDS.get(self.position, self.position)

    @property
    def samples(self) -> str:
        """Which pictures the states are of: "said and there", or one of the two kinds of errors, see `extract`."""
        return self.provenance.get("samples", SAID_AND_THERE)

    @property
    def prompt(self) -> str:
        """The instruction that the LMM was given."""
        return self.provenance["prompt"]

    @property
    def fingerprint(self) -> str:
        """Of the weights of the LMM."""
        return self.provenance["model"]["fingerprint"]

    @property
    def model_name(self) -> str:
        """Of the LMM, for others to read: of a model in a folder the folder's own name, not where it lies."""
        name = self.provenance["model"]["name"]
        return Path(name).name if name.startswith(("/", "~", ".")) or "\\" in name or name.count("/") > 1 else name

    def picture_ids(self, ids: Sequence[str], known: Sequence[str]) -> list[str]:
        """Samples' ids among known ones of pictures: joined states have "token/id", the pictures perhaps without it."""
        tokens = self.provenance.get("tokens", ())
        before = [next((f"{token}/" for token in tokens if id.startswith(f"{token}/")), "") for id in ids]
        without = [id.removeprefix(token) for id, token in zip(ids, before)]
        # Without it first: a folder may have a file that is called "token/id", too.
        return list(ids) if set(ids) <= set(known) and not set(without) <= set(known) else without


def check_record(provenance: dict, captions: list) -> None:
    """Refuse (ValueError) what a damaged file may say in place of a provenance and captions."""
    model, counts = provenance["model"], provenance["counts"]  # a KeyError names what is missing
    fits = {
        "model": isinstance(model, dict) and all(isinstance(model[name], str) for name in ("name", "fingerprint")),
        "counts": isinstance(counts, dict)
        and all(type(count) is int and count >= 0 for count in counts.values())
        and "kept" in counts,
        "token": isinstance(provenance["token"], list) and all(isinstance(word, str) for word in provenance["token"]),
        "position": isinstance(provenance["position"], str),
        "prompt": isinstance(provenance["prompt"], str | None),
        "data": isinstance(provenance["data"], dict),
        "samples": provenance.get("samples", SAID_AND_THERE) in SAMPLES,
        "captions": isinstance(captions, list) and all(isinstance(caption, str) for caption in captions),
    }
    if wrong := [name for name, fit in fits.items() if not fit]:
        raise ValueError(f"its {wrong[0]} cannot be understood")


def require_same(first: HasProvenance, second: HasProvenance, *fields: str, names: tuple[str, str]) -> None:
    """Refuse two that differ in a field of their provenance; `names` says what they are.

    Parameters
    ----------
    first, second : HasProvenance
    *fields : str
        Of the provenance, in the order in which they are checked.
    names : tuple of str
        What the two are called in the message.

    Raises
    ------
    ValueError
        Names the field and both values.
    """
    for field in fields:
        known = [field in it.provenance for it in (first, second)]
        a, b = (it.provenance[field] if field in it.provenance else getattr(it, field, None) for it in (first, second))
        if a != b and (all(known) or field not in ("processor", "captions")):
            raise ValueError(f"{names[0]} and {names[1]} differ in {field}: {a!r} and {b!r}; extract them alike")
