"""Learning from a teacher."""

from dataclasses import replace

import pytest
import torch

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD, Predictions
from multibox.network.normalize import Normalize
from multibox.spec import ModelSpec
from multibox.training.losses.distillation import Teacher
from multibox.zoo import load_spec


def small(small_sheet, *names: str) -> ModelSpec:
    return load_spec(str(small_sheet)).with_names(names)


def ask(network: SSD, images: torch.Tensor) -> Predictions:
    with torch.no_grad():
        return network.eval()(Normalize(network.spec.input)(images))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_student_of_the_teachers_opinion_has_nothing_to_learn(small_sheet, images, activation):
    spec = replace(small(small_sheet, "red", "blue"), activation=activation, background=activation == "softmax")
    teacher = build_model(spec)
    same, other = ask(teacher, images), ask(build_model(spec), images)
    loss = Teacher(teacher, teacher, 1.0).loss
    assert float(loss(images, same)) == pytest.approx(0, abs=1e-3)
    assert float(loss(images, Predictions(other.logits + torch.randn_like(other.logits), other.offsets + 1))) > 0.1


def test_the_weight_multiplies_the_loss(small_sheet, images):
    spec = small(small_sheet, "red", "blue")
    teacher, student = build_model(spec), build_model(spec)
    said = Predictions(*(part + 1 for part in ask(student, images)))
    once, twice = (float(Teacher(teacher, student, weight).loss(images, said)) for weight in (1.0, 2.0))
    assert twice == pytest.approx(2 * once)


def test_classes_are_matched_by_name(small_sheet, images):
    teacher = build_model(small(small_sheet, "green", "blue", "red"))
    student = build_model(small(small_sheet, "red", "blue"))
    assert Teacher(teacher, student, 1.0).columns.tolist() == [0, 3, 2]


def test_a_teacher_that_lacks_a_class_is_refused(small_sheet):
    teacher, student = build_model(small(small_sheet, "red")), build_model(small(small_sheet, "red", "blue"))
    with pytest.raises(ModelError, match="does not know the class 'blue'"):
        Teacher(teacher, student, 1.0)


def test_a_teacher_of_another_input_is_refused(small_sheet):
    teacher = build_model(load_spec("ssdlite320_mobilenet_v3_large").with_names(("red",)))
    with pytest.raises(ModelError, match="the input of the teacher"):
        Teacher(teacher, build_model(small(small_sheet, "red")), 1.0)
