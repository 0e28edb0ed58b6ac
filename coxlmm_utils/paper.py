"""Numbers of the CoX-LMM paper (arXiv 2406.08074) that figures show beside ours.

Its authors measured them with DePALM (OPT-6.7B, 32 blocks) on COCO. None is made up: what is not here is not known.
"""

FIG6_LAYERS = (1, 5, 10, 15, *range(18, 32))
FIG6_CLIPSCORE = {  # Fig 6: average CLIPScore of the multimodal grounding, read off the plot to about .003
    "cat": (.487, .486, .492, .496, .474, .506, .477, .491, .505, .501, .560, .605, .636, .629, .631, .642, .644, .645),
    "dog": (.502, .475, .482, .489, .472, .477, .486, .534, .540, .564, .579, .611, .607, .625, .622, .622, .621, .643),
    "random words": (.480,) * 18,
}  # fmt: skip
