"""Numbers of the CoX-LMM paper (arXiv 2406.08074), and of that on steering, that figures and tables show beside ours.

Its authors measured them with DePALM (OPT-6.7B, 32 blocks) on COCO. Those here are verified: read off the tables and
the figure. What is only recalled of the paper (numbers of samples, lambda = 1, the text that BERTScore is given, its
test of significance) is not here.
"""

from __future__ import annotations

FIG3_RANGES = {  # Fig 3, about: from where to where the dots of eight tokens lie, with random words and with their own
    "clipscore": ((.35, .57), (.46, .80)),
    "bertscore": ((.07, .43), (.24, .70)),
}  # fmt: skip
FIG5_RELATIVE = {"Dog": (1, 0.72, 0.34), "Cat": (1, 0.64, 0.25), "Bus": (1, 0.85, 0.78)}  # Fig 5: activation / largest
FIG6_LAYERS = (1, 5, 10, 15, *range(18, 32))
FIG6_PRECISION = 0.003  # of the values that are read off the plot
FIG6_CLIPSCORE = {  # Fig 6: average CLIPScore of the multimodal grounding
    "cat": (.487, .486, .492, .496, .474, .506, .477, .491, .505, .501, .560, .605, .636, .629, .631, .642, .644, .645),
    "dog": (.502, .475, .482, .489, .472, .477, .486, .534, .540, .564, .579, .611, .607, .625, .622, .622, .621, .643),
    "random words": (.480,) * 18,
}  # fmt: skip

TABLE1 = {  # top-1 concept on test pictures: mean and standard deviation over pictures, in the order of TABLE1_SYSTEMS
    ("Dog", "clipscore"): ((.519, .05), (.425, .06), (.546, .08), (.610, .09), (.783, .06)),
    ("Dog", "bertscore"): ((.201, .04), (.306, .05), (.346, .08), (.405, .07), (.511, .11)),
    ("Bus", "clipscore"): ((.507, .05), (.425, .08), (.667, .06), (.634, .08), (.736, .05)),
    ("Bus", "bertscore"): ((.200, .05), (.303, .06), (.390, .05), (.404, .07), (.466, .11)),
    ("Train", "clipscore"): ((.496, .05), (.410, .07), (.642, .06), (.646, .07), (.727, .05)),
    ("Train", "bertscore"): ((.210, .06), (.253, .06), (.392, .07), (.378, .07), (.436, .08)),
    ("Cat", "clipscore"): ((.539, .04), (.461, .04), (.589, .07), (.627, .06), (.798, .05)),
    ("Cat", "bertscore"): ((.207, .07), (.307, .03), (.425, .10), (.437, .08), (.544, .10)),
}  # fmt: skip
TABLE1_SYSTEMS = ("rnd_words", "noise_imgs", "simple", "semi_nmf", "gt_captions")
TABLE2 = {  # overlap, lower is better, in the order of TABLE2_SYSTEMS
    "Dog": (.371, .004, .501, .086),
    "Bus": (.622, .002, .487, .177),
    "Train": (.619, .015, .367, .107),
    "Cat": (.452, .000, .500, .146),
}  # fmt: skip
TABLE2_SYSTEMS = ("simple", "pca", "kmeans", "semi_nmf")
STEERING = {  # arXiv 2501.03012, LLaVA-1.5 on VQAv2: accuracy by kind of answer; how the counts of the two answers change
    "no steering": (90.82, 58.47, 71.10, None, None),
    "Yes -> No": (69.03, 56.82, 68.99, -828, 828),
    "1 -> 3": (90.71, 54.52, 71.12, -215, 144),
    "White -> Black": (90.40, 58.42, 58.36, -98, 441),
}  # fmt: skip
STEERING_COLUMNS = ("yes/no", "number", "other", "count of the first", "count of the second")

SAFETY_METHODS = ("no steering", "Prompt", "Mean-S", "Mean-S(BA)", "L2S", "P2S")
SAFETY = {  # arXiv 2508.12815, LLaVA-1.5 on MM-SafetyBench, by SAFETY_METHODS: less is safer, then more is better
    "unsafe, p >= .5": (0.276, 0.248, 0.161, 0.089, 0.082, 0.094),
    "unsafe, p >= .7": (0.234, 0.207, 0.129, 0.066, 0.057, 0.064),
    "unsafe, p >= .9": (0.204, 0.183, 0.102, 0.041, 0.034, 0.042),
    "expert deferral": (0.250, 0.197, 0.329, 0.276, 0.395, 0.382),
    "quality, 0 to 10": (6.92, 7.34, 6.61, 6.42, 6.56, 6.49),
}
POPE_METHODS = ("no steering", "Prompt", "Norm-Rnd", "Mean-S", "L2S", "P2S")
POPE = {  # the same paper, LLaVA-1.5, accuracy in per cent by POPE_METHODS
    "random": (82.73, 84.91, 82.38, 84.29, 86.46, 89.26),
    "popular": (80.40, 83.35, 80.36, 82.11, 82.58, 88.64),
    "adversarial": (76.82, 76.36, 75.77, 76.36, 77.76, 82.58),
}
