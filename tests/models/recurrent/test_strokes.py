"""Pen strokes as a model: the density against other libraries, what padding and state change, and drawing."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from transformers import Trainer, TrainingArguments

from hfseq import AutoModelForStrokes, StrokesConfig, StrokesForGeneration
from hfseq.data.strokes import StrokesCollator, make_rows
from hfseq.models.recurrent import strokes as module
from hfseq.models.recurrent.stroke_density import SMALLEST_STD, StrokeDensity
from tests.closeness import assert_same
from tests.rounds import for_each

CONFIGURATIONS = {
    "plain": {},
    "mse": {"loss": "mse", "residual_std": 0.7, "cell": "gru"},
    "classes": {"class_names": ["circle", "line"], "num_hidden_layers": 2, "cell": "rnn"},
    "peephole": {"cell": "lstm_peephole", "num_hidden_layers": 2},
}
every_configuration = for_each("name", CONFIGURATIONS)


def make(name="plain", **options):
    """A small model in evaluation mode, the same one every time."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_mixtures": 3, "offset_scale": 2.5, "class_embedding_size": 4}
    model = StrokesForGeneration(StrokesConfig(**{**sizes, **CONFIGURATIONS[name], **options})).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def drawing(length, seed=0):
    """Points that begin and end as drawings do."""
    rng = np.random.default_rng([length, seed])
    pens = np.append(rng.integers(0, 2, length - 1), 2)
    offsets = rng.normal(0, 3, (length, 2)) * (np.arange(length) > 0)[:, None]
    return np.concatenate((offsets, pens[:, None]), axis=1)


DRAWINGS = [drawing(length) for length in (7, 1, 4, 2)]


def batch_of(drawings, name="plain", side="right"):
    batch = StrokesCollator(side)(drawings)
    if name == "classes":
        batch["class_ids"] = torch.arange(len(drawings)) % 2
    return batch


# The density


def numbers(*shape, components=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = StrokeDensity.size(components)
    return 2 * torch.randn(*shape, size, generator=generator, dtype=torch.float64)


def test_the_mixture_is_that_of_torch_and_of_scipy():
    density = StrokeDensity.of_mixture(numbers(5))
    offsets = 3 * torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    first, second = density.stds.unbind(-1)
    cross = density.correlations * first * second
    covariances = torch.stack((first.square(), cross, cross, second.square()), -1).unflatten(-1, (2, 2))
    peer = MixtureSameFamily(Categorical(logits=density.log_weights), MultivariateNormal(density.means, covariances))
    found = density.log_prob_of_offsets(offsets)
    assert_same(found, peer.log_prob(offsets), 1e-12)
    parts = [multivariate_normal(m.numpy(), c.numpy()) for m, c in zip(density.means[0], covariances[0], strict=True)]
    total = sum(
        w.exp().item() * part.pdf(offsets[0].numpy()) for w, part in zip(density.log_weights[0], parts, strict=True)
    )
    assert found[0].item() == pytest.approx(np.log(total), rel=1e-12)
    assert_same(density.mean(), peer.mean, 1e-12)


def test_the_density_sums_to_one():
    density = StrokeDensity.of_mixture(numbers(1, components=2) / 2)
    axis = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    mass = density.log_prob_of_offsets(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-6)
    assert sum(density.log_prob_of_pens(torch.tensor([pen])).exp().item() for pen in range(3)) == pytest.approx(1)


def test_the_gradient_of_the_density_is_its_slope():
    given, offsets = numbers(2, components=2).requires_grad_(), torch.tensor([[0.3, -1.0], [2.0, 0.5]]).double()
    pens = torch.tensor([0, 2])

    def log_prob(raw, places):
        density = StrokeDensity.of_mixture(raw)
        return density.log_prob_of_offsets(places) + density.log_prob_of_pens(pens)

    assert torch.autograd.gradcheck(log_prob, (given, offsets.requires_grad_()))


@pytest.mark.parametrize("size", [-1e4, -100.0, 100.0, 1e4])
def test_extreme_numbers_give_finite_losses_and_gradients(size):
    raw = torch.full((1, StrokeDensity.size(3)), size).requires_grad_()
    density = StrokeDensity.of_mixture(raw)
    assert density.stds.min() >= SMALLEST_STD and density.correlations.abs().max() < 1
    loss = density.log_prob_of_offsets(torch.tensor([[5.0, -5.0]])) + density.log_prob_of_pens(torch.tensor([1]))
    loss.sum().backward()
    assert loss.isfinite().all() and raw.grad.isfinite().all()


def test_samples_have_the_moments_of_the_density():
    density = StrokeDensity.of_mixture(numbers(1, components=3) / 2)
    many = StrokeDensity(*(part.expand(200_000, *part.shape[1:]) for part in density))
    offsets, pens = many.sample(torch.Generator().manual_seed(0))
    assert_same(offsets.mean(0), density.mean()[0], 0.02, scale=1)
    first, second = density.stds[0].unbind(-1)
    cross = density.correlations[0] * first * second
    spreads = torch.stack((first.square(), cross, cross, second.square()), -1).unflatten(-1, (2, 2))
    apart = density.means[0] - density.mean()
    weights = density.log_weights[0].exp()[:, None, None]
    expected = (weights * (spreads + apart[:, :, None] * apart[:, None, :])).sum(0)
    assert_same(torch.cov(offsets.T), expected, 0.03)
    assert_same(pens.bincount(minlength=3) / len(pens), density.pen_logits[0].softmax(-1), 0.02, scale=1)


def test_bias_and_temperature_are_those_of_the_papers():
    density = StrokeDensity.of_mixture(numbers(3))
    biased = density.sharpened(bias=2.0)
    assert_same(biased.stds, density.stds * np.exp(-2), 1e-12)
    assert_same(biased.log_weights.exp(), (3 * density.log_weights).softmax(-1), 1e-12)
    assert torch.equal(biased.pen_logits, density.pen_logits)  # Graves leaves the pen as it is
    cooler = density.sharpened(temperature=0.25)
    assert_same(cooler.stds, density.stds / 2, 1e-12)
    assert_same(cooler.pen_logits, 4 * density.pen_logits, 1e-12)


# The model


@every_configuration
def test_the_loss_is_that_of_a_loop_over_the_points(name):
    model, batch = make(name).double(), batch_of(DRAWINGS, name)
    batch["input_values"] = batch["input_values"].double()
    total, scale = 0.0, model.config.offset_scale
    for row, points in enumerate(DRAWINGS):
        given = {key: value[row : row + 1] for key, value in batch.items() if key == "class_ids"}
        read = batch["input_values"][row : row + 1]
        for step in range(1, len(points)):
            density = model.density(model(read[:, :step], **given).logits[0, -1])
            x, y, pen = read[0, step, 0] / scale, read[0, step, 1] / scale, int(points[step][2])
            total = total - torch.log_softmax(density.pen_logits, -1)[pen]
            if model.config.loss == "mse":
                mean = density.means[0]
                total = total + ((x - mean[0]) ** 2 + (y - mean[1]) ** 2) / 2
                continue
            p = 0.0
            for k in range(3):
                (sx, sy), r, (mx, my) = density.stds[k], density.correlations[k], density.means[k]
                a, b = (x - mx) / sx, (y - my) / sy
                z = (a**2 + b**2 - 2 * r * a * b) / (1 - r**2)
                p += density.log_weights[k].exp() * torch.exp(-z / 2) / (2 * np.pi * sx * sy * (1 - r**2).sqrt())
            total = total - torch.log(p / scale**2)
    count = sum(len(each) - 1 for each in DRAWINGS)
    assert int((batch["labels"] != -100).sum()) == count
    assert_same(model(**batch).loss, total / count, 1e-10)
    assert_same(model(**batch, num_items_in_batch=5).loss, total / 5, 1e-10)


def test_a_density_in_other_units_is_that_of_the_same_drawing():
    wide, narrow = make(offset_scale=25.0), make(offset_scale=2.5)
    larger = [each * [10, 10, 1] for each in DRAWINGS]
    assert_same(wide(**batch_of(larger)).loss, narrow(**batch_of(DRAWINGS)).loss + 2 * np.log(10))


@every_configuration
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_no_answer(name, side):
    model, batch = make(name), batch_of(DRAWINGS, name, side)
    batch["input_values"][~batch["attention_mask"].bool()] = float("nan")  # whatever stands there
    together, log_probs = model(**batch), model.step_log_probs(**batch)
    total, count = 0.0, 0
    for row, points in enumerate(DRAWINGS):
        own = batch_of([points])
        if name == "classes":
            own["class_ids"] = batch["class_ids"][row : row + 1]
        alone, real = model(**own), batch["attention_mask"][row].bool()
        assert_same(together.logits[row, real], alone.logits[0], what=row)
        found = model.step_log_probs(**own)
        assert_same(log_probs[row, real], found[0], what=row)
        assert not log_probs[row, ~real].any()
        total, count = total + alone.loss * (len(points) - 1), count + len(points) - 1
    assert_same(together.loss, total / count)
    together.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_configuration
def test_a_state_goes_on_where_it_was(name):
    model, batch = make(name), batch_of(DRAWINGS[:1], name)
    given = {key: value for key, value in batch.items() if key == "class_ids"}
    whole = model(batch["input_values"], **given).logits
    cache, found = None, []
    for start, end in ((0, 3), (3, 4), (4, 7)):
        outputs = model(batch["input_values"][:, start:end], cache=cache, use_cache=True, **given)
        cache = outputs.cache
        found.append(outputs.logits)
    assert_same(torch.cat(found, dim=1), whole)
    assert model(batch["input_values"], use_cache=False, **given).cache is None


def test_each_layer_and_the_output_see_the_input_and_every_layer():
    model = make(num_hidden_layers=2)
    assert [layer.forward_loop.weight_ih.shape[1] for layer in model.model.layers] == [3, 11]
    assert model.density_head.in_features == 16


@every_configuration
def test_checkpoints_are_whole(name, tmp_path):
    model, batch = make(name), batch_of(DRAWINGS, name)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForStrokes.from_pretrained(tmp_path)
    assert torch.equal(loaded(**batch).logits, model(**batch).logits) and loaded.config.offset_scale == 2.5


@every_configuration
def test_it_learns_and_accumulation_is_exact(name, tmp_path):
    from datasets import Dataset, DatasetDict

    columns = {"drawing": [drawing(5, seed).tolist() for seed in range(16)]}
    if name == "classes":
        columns["class_ids"] = [seed % 2 for seed in range(16)]
    rows = make_rows(DatasetDict(train=Dataset.from_dict(columns)))["train"]
    found = []
    for size, steps in ((8, 1), (2, 4)):
        model = make(name)
        before = model(**StrokesCollator()(list(rows))).loss.item()
        model.train()
        arguments = {"max_steps": 8, "learning_rate": 0.03, "report_to": "none", "use_cpu": True, "logging_steps": 1}
        sizes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
        args = TrainingArguments(
            str(tmp_path), **arguments, **sizes, optim="sgd", disable_tqdm=True, save_strategy="no"
        )
        trainer = Trainer(model, args, train_dataset=rows, data_collator=StrokesCollator())
        trainer.train()
        after = model.eval()(**StrokesCollator()(list(rows))).loss.item()
        assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(after, rel=1e-4) and after < before
        found.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert_same(*found, 2e-3, scale=1)


# Drawing


@every_configuration
def test_drawing_equals_reading_all_of_it_at_each_step(name):
    model, given, most = make(name), {}, 12
    classes = ["line", "circle", 1] if name == "classes" else None
    if classes:
        given = {"class_ids": torch.tensor([1, 0, 1])}
    found = model.generate_strokes(3, classes=classes, bias=0.3, temperature=0.8, max_new_steps=most, seed=4)
    generator = torch.Generator().manual_seed(4)
    read = torch.zeros(3, 1, 3)
    for _ in range(max(map(len, found)) - 1):
        logits = model(read, use_cache=False, **given).logits[:, -1]
        offsets, pens = model.density(logits).sharpened(bias=0.3, temperature=0.8).sample(generator)
        read = torch.cat((read, torch.cat((offsets * 2.5, pens[:, None].float()), -1)[:, None]), dim=1)
    for ours, theirs in zip(found, read, strict=True):
        assert_same(ours, theirs[: len(ours)], 1e-4)
        assert len(ours) == 1 + most or ours[-1, 2] == 2
        assert not (ours[:-1, 2] == 2).any()


def test_a_primed_drawing_goes_on_from_its_prefix():
    model = make()
    prefix = drawing(6)[:5]
    for one in model.generate_strokes(2, prefix=prefix, seed=0, max_new_steps=3):
        assert_same(one[:5], prefix) and 6 <= len(one) <= 8
    density = model.density(model(torch.tensor(prefix)[None]).logits[:, -1]).sharpened(bias=100.0)
    elsewhere = prefix + [[7, -9, 0], *[[0, 0, 0]] * 4]  # where it begins changes nothing of what follows
    places = density.means[0, density.log_weights[0].argmax()] * 2.5
    for begun in (prefix, elsewhere):
        drawn = model.generate_strokes(prefix=begun, bias=100.0, max_new_steps=1, seed=0)[0]
        assert_same(drawn[-1, :2], places, 1e-4)
        assert_same(drawn[:5], begun)


def test_a_seed_gives_the_same_drawings_and_modes_stay_as_they_were():
    model = make(hidden_dropout=0.5).train()
    one, two, other = (model.generate_strokes(2, seed=seed, max_new_steps=5) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True)) and model.training
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=False) if a.shape == b.shape)
    drawn = model.generate_strokes(generator=torch.Generator().manual_seed(1), max_new_steps=5)
    assert drawn[0].shape[1] == 3


def test_where_a_drawing_begins_is_not_learnt():
    model, moved = make(), [each + np.eye(len(each))[:1].T * [40.0, -9.0, 0.0] for each in DRAWINGS]
    batch, same = batch_of(DRAWINGS), batch_of(moved)
    assert all(torch.equal(batch[key], same[key]) for key in batch) and (batch["labels"][:, 0] == -100).all()
    # Trained to no end, a density without that point stays that of the points which say something.
    model.density_head.bias.data[:] = 1.0
    log_probs = model.step_log_probs(**batch)
    assert (log_probs != 0).sum(1).tolist() == [6, 0, 3, 1]
    assert_same(log_probs, model.step_log_probs(**batch, logits=model(batch["input_values"]).logits))


def test_the_width_of_a_mean_is_what_it_misses_in_training():
    model, many = make("mse"), [drawing(9, seed) for seed in range(6)]
    batches = [batch_of(many[:4]), batch_of(many[4:], side="left")]
    misses = []
    for points in many:
        batch = batch_of([points])
        means = model.density(model(batch["input_values"]).logits).mean()[0, :-1]
        misses.append((means - batch["input_values"][0, 1:, :2] / 2.5).square())
    expected = torch.cat(misses).mean().sqrt().item()
    assert model.train().fit_residual_std(batches) == pytest.approx(expected, rel=1e-5) and model.training
    assert model.config.residual_std == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="The batches predict nothing"):
        model.fit_residual_std([batch_of(DRAWINGS[1:2])])
    with pytest.raises(ValueError, match="loss='mdn' learns a width for each step"):
        make().fit_residual_std(batches)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size"),
        ({"cell": "transistor"}, "no cell is called 'transistor'"),
        ({"loss": "mae"}, "loss"),
        ({"num_mixtures": 0}, "num_mixtures"),
        ({"offset_scale": 0.0}, "offset_scale"),
        ({"class_names": []}, r"class_names=\[\] must be one name or more"),
        ({"class_names": ["a", "a"]}, "each once"),
        ({"eos_token_id": 3}, "eos_token_id=3: a drawing has no tokens"),
        ({"hiden_size": 3}, "Did you mean 'hidden_size'"),
    ],
)
def test_wrong_configs_are_refused(options, message):
    with pytest.raises(Exception, match=message):
        StrokesConfig(**options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, b: m(), "Give input_values"),
        (lambda m, b: m(b["input_values"][0]), r"shape \(drawings, points, 3\), got \(7, 3\). One drawing is a batch"),
        (lambda m, b: m(b["input_values"][..., :2]), r"got \(4, 7, 2\)"),
        (lambda m, b: m(b["input_values"][:0]), "no rows"),
        (lambda m, b: m(b["input_values"].fill_(torch.inf)), r"input_values\[0, 0\] = .* is not finite"),
        (lambda m, b: m(b["input_values"], b["attention_mask"][:, 1:]), r"attention_mask of shape \(4, 6\)"),
        (lambda m, b: m(b["input_values"], labels=b["labels"].float()), "labels say what the pen does"),
        (lambda m, b: m(b["input_values"], labels=b["labels"][0]), r"shape \(4, 7\), got torch.int64 of shape \(7,\)"),
        (lambda m, b: m(b["input_values"] + torch.tensor([0, 0, 7.0])), r"input_values\[0, 0\]: the pen is"),
        (lambda m, b: m(b["input_values"] - torch.tensor([0, 0, 0.5])), r"input_values\[0, 0\]: the pen is"),
        (lambda m, b: m(b["input_values"], labels=b["labels"] + 1), "label 3 is outside 0 to 2"),
        (lambda m, b: m(b["input_values"], class_ids=torch.zeros(4).long()), "names no classes"),
        (lambda m, b: m(b["input_values"], colour=1), "does not read 'colour'"),
        (lambda m, b: m.get_input_embeddings(), "has no embeddings"),
        (lambda m, b: m.generate_strokes(0), "num_drawings=0"),
        (lambda m, b: m.generate_strokes(temperature=0.0), "temperature=0.0 must be a number above 0"),
        (lambda m, b: m.generate_strokes(bias=-1.0), "bias=-1.0 must be a number from 0"),
        (lambda m, b: m.generate_strokes(bias="1"), "bias='1' must be a number"),
        (lambda m, b: m.generate_strokes(1.5), "num_drawings=1.5 must be a whole number"),
        (lambda m, b: m.generate_strokes(max_new_steps=True), "max_new_steps=True must be a whole number"),
        (lambda m, b: m.generate_strokes(seed=1, generator=torch.Generator()), "two sources of random numbers"),
        (lambda m, b: m.generate_strokes(classes="a"), "knows no classes"),
        (lambda m, b: m.generate_strokes(prefix=[[1, 2]]), "prefix must be one drawing"),
        (lambda m, b: m.generate_strokes(prefix=[[1, 2, torch.nan]]), "not finite"),
        (lambda m, b: m.generate_strokes(prefix=[[1, 2, 2]]), "prefix holds the end of a drawing"),
        (
            lambda m, b: m.generate_strokes(prefix=[[1, 2, 0], [1, 2, -5]]),
            "prefix, point 1: the pen is -5, and must be 0",
        ),
        (lambda m, b: m.generate_strokes(prefix=torch.zeros(0, 3)), "prefix must be one drawing"),
    ],
)
def test_wrong_calls_are_refused(call, message):
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        call(make(), batch_of(DRAWINGS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, b: m(b["input_values"]), "give class_ids, one of 0 to 1"),
        (lambda m, b: m(b["input_values"], class_ids=torch.zeros(3).long()), "4 whole numbers"),
        (lambda m, b: m(b["input_values"], class_ids=torch.full((4,), 2)), "class id 2 is outside 0 to 1"),
        (lambda m, b: m.generate_strokes(), "give classes=, such as 'circle'"),
        (lambda m, b: m.generate_strokes(classes="star"), "There is no class 'star': choose among 'circle', 'line'"),
        (lambda m, b: m.generate_strokes(3, classes=["circle"]), "1 classes for 3 drawings"),
        (lambda m, b: m.generate_strokes(classes=True), "There is no class True"),
    ],
)
def test_wrong_classes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(make("classes"), batch_of(DRAWINGS))


def test_a_drawing_without_points_has_an_answer():
    model = make()
    outputs = model(torch.zeros(2, 0, 3), labels=torch.zeros(2, 0).long())
    assert outputs.logits.shape == (2, 1, module.StrokeDensity.size(3)) and outputs.loss == 0
