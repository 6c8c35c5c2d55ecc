import random

import pytest

from retinanet.prepare.splits import Drawn, draw_splits, place


def images(count: int, classes=("a",), start: int = 0) -> list[Drawn]:
    return [Drawn(f"p{n}", f"p{n}", frozenset(classes)) for n in range(start, start + count)]


def names_in(chosen: dict[str, str], split: str) -> set[str]:
    return {name for name, of_name in chosen.items() if of_name == split}


def test_a_place_follows_from_seed_and_name():
    assert place("p1", 0) == place("p1", 0)
    assert place("p1", 0) != place("p1", 1)
    assert 0 <= place("p1", 0) < 1


def test_shares_are_about_those_asked_for():
    chosen = draw_splits(images(2000), 0.15, 0.2, seed=0)
    assert len(names_in(chosen, "test")) == pytest.approx(400, abs=60)
    assert len(names_in(chosen, "val")) == pytest.approx(300, abs=60)


def test_another_seed_divides_otherwise():
    assert draw_splits(images(50), 0.2, 0.2, seed=0) != draw_splits(images(50), 0.2, 0.2, seed=1)


def test_val_and_test_get_an_object_however_few_there_are():
    for seed in range(50):
        chosen = draw_splits(images(4), 0.1, 0.1, seed)
        assert names_in(chosen, "val") and names_in(chosen, "test")


def test_a_share_of_zero_is_none():
    assert not names_in(draw_splits(images(30), 0.3, 0.0, seed=0), "test")
    assert not names_in(draw_splits(images(30), 0.0, 0.3, seed=0), "val")


def test_every_class_is_measured_where_it_can_be():
    """Ten images of a rare class among a thousand: by chance alone test would miss it in one of ten seeds."""
    everything = images(1000) + images(10, ("a", "rare"), start=1000)
    for seed in range(40):
        chosen = draw_splits(everything, 0.15, 0.2, seed)
        rare = [chosen[f"p{n}"] for n in range(1000, 1010)]
        assert {"train", "test"} <= set(rare)


def test_many_classes_of_one_image_are_mostly_learnt():
    singles = [Drawn(f"p{n}", f"p{n}", frozenset({f"class {n}"})) for n in range(500)]
    chosen = draw_splits(singles, 0.15, 0.2, seed=0)
    assert len(names_in(chosen, "train")) >= 0.25 * 500


def test_a_group_is_never_divided():
    drawn = [Drawn(f"p{n}", f"patient {n % 20}", frozenset({"a"})) for n in range(200)]
    chosen = draw_splits(drawn, 0.2, 0.2, seed=3)
    assert all(len({chosen[f"p{n}"] for n in range(patient, 200, 20)}) == 1 for patient in range(20))
    assert set(chosen.values()) == {"train", "val", "test"}


def test_look_alikes_share_a_split_and_train_has_them_first():
    drawn = images(40)
    alone = draw_splits(drawn, 0.2, 0.2, seed=0)
    one, other = min(names_in(alone, "test")), min(names_in(alone, "train"))
    chosen = draw_splits(drawn, 0.2, 0.2, seed=0, together=[[one, other]])
    assert chosen[one] == chosen[other] == "train"
    assert {name: chosen[name] for name in chosen if name != one} == {n: alone[n] for n in alone if n != one}


def test_what_is_served_from_elsewhere_needs_no_image():
    two = images(2)
    seed = next(s for s in range(99) if min(place(p.name, s) for p in two) > 0.5)
    served = {"val": {"a"}, "test": {"a"}}
    assert set(draw_splits(two, 0.1, 0.1, seed, served=served).values()) == {"train"}
    assert len(set(draw_splits(two, 0.1, 0.1, seed).values())) == 2


def test_adding_images_moves_none_from_train():
    """Any sets, small or large, any classes, any look-alikes: train stays train, val never becomes test."""
    lottery = random.Random(0)
    for seed in range(300):
        everything = [
            Drawn(f"p{n}", f"p{n}", frozenset(lottery.sample("abcd", lottery.randrange(4))))
            for n in range(lottery.randrange(2, 40))
        ]
        old = everything[: lottery.randrange(1, len(everything))]
        alike = [lottery.sample([p.name for p in everything], 2) for _ in range(lottery.randrange(3))]
        old_names = {p.name for p in old}
        before = draw_splits(old, 0.15, 0.2, seed, [pair for pair in alike if set(pair) <= old_names])
        after = draw_splits(everything, 0.15, 0.2, seed, alike)
        moved = {(before[name], after[name]) for name in old_names if before[name] != after[name]}
        assert moved <= {("test", "val"), ("test", "train"), ("val", "train")}


def test_no_images_no_splits():
    assert draw_splits([], 0.2, 0.2, 0) == {}
