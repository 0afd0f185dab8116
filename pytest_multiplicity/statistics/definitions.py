"""What every printed number means: the formula in words, inclusive or not, and against what."""

from __future__ import annotations

DEFINITIONS: dict[str, str] = {
    # sheets
    "accuracy": (
        "share of the samples whose target is the class with the largest output under the "
        "intervention"
    ),
    "accuracy_of_values": (
        "share of the samples of which every value is within the tolerance of the target, "
        "inclusive, under the intervention"
    ),
    "accuracy_of_labels": (
        "share of the samples of which all labels are right under the intervention (subset "
        "accuracy)"
    ),
    "accuracy_of_positions": (
        "share of the positions of all samples, but for those to be ignored, whose target is the "
        "class with the largest output under the intervention; samples are independent and "
        "positions aren't: intervals are Wilson's for n / design effect positions, noise floors "
        "permute whole samples, and verdicts beyond doubt count samples"
    ),
    "design_effect": (
        "variance of a share of positions, robust to what those of one sample have in common, over "
        "that of as many independent positions"
    ),
    "consistency": (
        "share of the samples whose prediction is the same under the intervention as without it"
    ),
    "membership privacy": (
        "one minus the balanced accuracy of an attacker who takes a sample for one of the training "
        "set when the candidate is surer of its class than a threshold, cross-fitted over two "
        "halves of the samples (with references: surer than candidates that did not see it); "
        "50%: the attacker guesses"
    ),
    "delta_all": (
        "largest minus smallest unrounded score over all distinct candidates, each counted once"
    ),
    "delta_by_seed": "for one seed, largest minus smallest score across the options of the axis",
    "delta_by_option": "for one option, largest minus smallest score across the seeds",
    "noise_floor": (
        "mean delta over all that equally good candidates would show on this test set: each "
        "sample's outcomes are permuted between the candidates"
    ),
    "noise_95": "the delta over all that equally good candidates stay at or below 95 times in 100",
    "noise_floor_at_most": (
        "upper bound of the noise floor from the number of samples n alone: the mean range of as "
        "many standard normals, times sqrt(p (1 - p) / n) at the mean score p"
    ),
    "p_value": (
        "how often equally good candidates show a delta as large or larger: the larger of a "
        "permutation test (mid-p) and a Gaussian test with the observed covariance; a delta is "
        "within test-set noise when it is above 0.05"
    ),
    "real_share": (
        "share of the variance between the scores that test-set noise does not explain: "
        "1 - (K - 1) / Q, at least 0, with K candidates and Q of Cochran's test"
    ),
    "expected_delta_all": (
        "mean delta over all of as many candidates as survived, drawn at random without "
        "replacement from all that have a score"
    ),
    "expected_ambiguity": (
        "mean ambiguity of as many candidates as survived, drawn at random without replacement"
    ),
    # groups
    "gap": (
        "largest minus smallest rate over the groups; its interval is simultaneous: Newcombe's "
        "hybrid score interval of each pair of groups at level 0.05 / pairs, the bootstrap's for "
        "what is no share; its floor is the mean gap with group labels permuted, within classes of "
        "the target for accuracy and for true and false positive rates"
    ),
    "ratio": (
        "smallest over largest rate of the groups; its interval is simultaneous: that of the "
        "logarithm of each pair's ratio at level 0.05 / pairs, with 0.5 added to hits and misses; "
        "its floor is the mean ratio with group labels permuted, within classes of the target for "
        "accuracy and for true and false positive rates"
    ),
    # beside an incumbent
    "flips": (
        "share of the samples that the incumbent is right about and the candidate wrong (negative "
        "flips, Yan et al. 2021), with Clopper and Pearson's interval; by retraining alone: the "
        "mean share over ordered pairs of candidates of one configuration"
    ),
    "churn": (
        "share of the samples that the candidate answers otherwise than the incumbent, with "
        "Clopper and Pearson's interval; by retraining alone: the mean share over pairs of "
        "candidates of one configuration"
    ),
    "gain": (
        "accuracy of the candidate minus that of the incumbent on the same samples, with Tango's "
        "interval"
    ),
    # selection
    "within": "at most eps worse than the best score of the family, inclusive",
    "in_top": (
        "at least the ceil(k n)-th best score of the n distinct candidates, inclusive, ties kept"
    ),
    "in_top_cells": (
        "at least the ceil(k n)-th best of the n cells of all tables, inclusive, ties kept; the "
        "default configuration counts once per table"
    ),
    "rashomon_ratio": (
        "share of the family's candidates that are at most eps worse than the best, inclusive"
    ),
    # predictive multiplicity, on predictions
    "ambiguity": (
        "share of samples on which any two candidates predict different classes; no baseline"
    ),
    "ambiguity_baseline": (
        "share of samples on which any candidate predicts another class than the baseline "
        "(Marx et al. 2020)"
    ),
    "discrepancy": (
        "largest share of samples on which any two candidates predict different classes; no "
        "baseline"
    ),
    "discrepancy_baseline": (
        "largest share of samples on which one candidate predicts another class than the baseline "
        "(Marx et al. 2020)"
    ),
    "disagreement": (
        "mean share of samples on which two candidates predict different classes, over all "
        "unordered pairs"
    ),
    "agreement": "share of samples on which the two candidates predict the same class",
    "self_consistency": (
        "per sample, share of unordered pairs of candidates that predict the same class (Cooper "
        "et al. 2024); its mean is 1 - disagreement"
    ),
    "self_consistency_distribution": (
        "share of samples whose self-consistency is at most the level, inclusive"
    ),
    "fleiss_kappa": (
        "(A - E) / (1 - E), with A the mean self-consistency and E the sum of the squared shares "
        "of the classes among all predictions"
    ),
    "conflicts": "samples on which any two candidates predict different classes",
    # predictive multiplicity, on probabilities
    "viable_prediction_range": (
        "per sample, lowest and highest probability that any candidate gives to the target class, "
        "or to the label asked for (Watson-Daniels et al. 2023)"
    ),
    "probabilistic_ambiguity": (
        "share of samples for which the probabilities that two candidates give to the target "
        "class, or to the label asked for, differ by delta or more, inclusive; no baseline"
    ),
    "probabilistic_ambiguity_baseline": (
        "share of samples for which any candidate's probability of the target class, or of the "
        "label asked for, differs from the baseline's by delta or more, inclusive (Watson-Daniels "
        "et al. 2023)"
    ),
    "score_variance": (
        "per sample, variance (divided by K - 1) of the probability that the K candidates give to "
        "the target class, or to the label asked for"
    ),
    "viable_value_range": (
        "per sample, lowest and highest value that any candidate gives, in the unit of the target"
    ),
    "value_variance": (
        "per sample, variance (divided by K - 1) of the values that the K candidates give, in the "
        "squared unit of the target; of several values the mean"
    ),
    "rashomon_capacity": (
        "per sample, 2 to the capacity in bits of the channel from candidates to classes whose "
        "rows are the candidates' probabilities (Hsu and Calmon 2022): from 1, all say the same, "
        "to the number of classes; by Blahut-Arimoto, the true value lies at most the printed gap "
        "in bits above"
    ),
    # where it comes from
    "mean_delta": (
        "of an axis: mean over the seeds of the delta across its options; of the seed: mean over "
        "the configurations of the delta across seeds; not comparable where the numbers of "
        "options differ"
    ),
    "share": (
        "share of the variance between the scores, unbiased for the noise of the seeds; in a star "
        "design it assumes that axes don't interact; an axis is named when its F test has p below "
        "0.05 after Holm's correction"
    ),
    # beyond doubt
    "interval": "Wilson's interval for a share of n samples",
    "threshold_beyond_doubt": (
        "exact binomial test of the accuracy against the threshold, one-sided, 0.05 / K each way, "
        "K the size of the family"
    ),
    "within_beyond_doubt": (
        "rejected when any other candidate is more than eps better on the same samples at level "
        "0.05 / (K (K - 1)), kept when none is at level 0.05 / K: the smaller of Tango's score and "
        "the smoothed Wald statistic"
    ),
    "in_top_beyond_doubt": (
        "kept when even the worst rank that the pairwise tests allow is at most ceil(k K), "
        "rejected when even the best one is not"
    ),
}
