"""Token ids as text that people can read."""

from coxlmm_utils.models.lmm import collapse_repeats


def test_runs_of_special_tokens_are_folded_each_by_itself(llava):
    def fold(text):
        return collapse_repeats(llava.tokenizer, llava.tokenizer.convert_tokens_to_ids(text.split()))

    assert fold("<s> <image> <image> <image> red dog <image> </s> </s> dog dog") == (
        *("<s>", "<image> x 3", "red dog", "<image>", "</s> x 2", "dog dog"),
    )
    assert fold("") == ()
    assert fold("<s> <image> <image> </s> <image> <image> </s> <image> <image> </s> <image> <pad>") == (
        *("<s>", "(<image> x 2 </s>) x 3", "<image>", "<pad>"),
    )
    assert fold("<image> </s> <image>") == ("<image>", "</s>", "<image>")
