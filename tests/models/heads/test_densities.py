"""What a forecast says of a number, against torch.distributions, brute force and draws."""

import math

import pytest
import torch
from torch import distributions, nn

from hfseq.models.heads.densities import Gaussian, GaussianMixture, Point, Quantiles, make_density
from tests.closeness import assert_same

SHARES = (0.05, 0.1, 0.5, 0.77, 0.95)


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def peer(density, parameters):
    """The same density by torch.distributions."""
    log_weights, means, scales = density.parts(parameters)
    normal = distributions.Normal(means, scales)
    return distributions.MixtureSameFamily(distributions.Categorical(logits=log_weights), normal)


@pytest.mark.parametrize("density", [Gaussian(), GaussianMixture(1), GaussianMixture(4)])
def test_gaussians_are_those_of_torch(density):
    parameters, values = drawn(5, 3, density.num_parameters) * 2, drawn(5, 3, seed=1) * 3
    expected = peer(density, parameters)
    assert_same(density.loss(parameters, values), -expected.log_prob(values), 1e-10)
    assert_same(density.center(parameters), expected.mean, 1e-10)
    for share in SHARES:
        below = density.quantile(parameters, share)
        assert_same(expected.cdf(below), torch.full_like(below, share), 1e-10)


def test_a_gaussian_has_the_scale_it_says():
    parameters = torch.tensor([[2.0, math.log(math.e**3 - 1)]], dtype=torch.float64)  # softplus makes 3 of it
    assert_same(
        Gaussian().loss(parameters, torch.tensor([5.0])),
        -distributions.Normal(2.0, 3.001).log_prob(torch.tensor([5.0])),
    )


def test_draws_of_a_mixture_have_its_quantiles():
    density, parameters = GaussianMixture(3), drawn(1, 9) * 2
    draws = density.sample(parameters.expand(40_000, 9), torch.Generator().manual_seed(3))
    for share in SHARES:
        part = (draws < density.quantile(parameters, share)).double().mean()
        assert abs(part - share) < 5 * math.sqrt(share * (1 - share) / len(draws))
    again = density.sample(parameters.expand(40_000, 9), torch.Generator().manual_seed(3))
    assert torch.equal(draws, again)


def test_far_values_and_narrow_scales_keep_a_finite_loss():
    for density in (Gaussian(), GaussianMixture(3)):
        parameters = torch.full((1, density.num_parameters), -200.0, requires_grad=True)
        loss = density.loss(parameters, torch.tensor([300.0])).sum()
        loss.backward()
        assert loss.isfinite() and parameters.grad.isfinite().all()


def test_the_pinball_loss_is_least_at_the_quantiles():
    values = drawn(2_000) * 2 + 1
    density = Quantiles([0.1, 0.5, 0.9])
    expected = values.quantile(torch.tensor(density.shares, dtype=torch.float64))
    least = density.loss(expected.expand(len(values), 3), values).mean()
    for moved in (expected + torch.tensor([0.05, 0, 0]), expected - torch.tensor([0, 0.05, 0]), expected * 1.05):
        assert density.loss(moved.expand(len(values), 3), values).mean() > least
    one = density.loss(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([2.0]))
    assert_same(one, torch.tensor([2 * (0.1 + 0.5 + 0.9) / 3]))


def test_quantiles_are_shown_in_order_and_between_them_along_a_line():
    density, crossed = Quantiles([0.1, 0.5, 0.9]), torch.tensor([[3.0, 1.0, 2.0]])
    assert [density.quantile(crossed, share).item() for share in density.shares] == [1.0, 2.0, 3.0]
    assert_same(density.quantile(crossed, 0.3), torch.tensor([1.5]))
    assert_same(density.center(crossed), torch.tensor([2.0]))
    assert_same(Quantiles([0.2, 0.4]).center(torch.tensor([[1.0, 5.0]])), torch.tensor([5.0]))
    with pytest.raises(
        ValueError, match=r"0.95 is outside the quantiles that this model has learnt, \[0.1, 0.5, 0.9\]"
    ):
        density.quantile(crossed, 0.95)


def test_a_point_is_a_squared_error_and_has_no_interval():
    parameters, values = drawn(4, 1), drawn(4, seed=1)
    assert_same(Point().loss(parameters, values).mean(), nn.functional.mse_loss(parameters[:, 0], values))
    with pytest.raises(ValueError, match="says one number and no interval: train with distribution='gaussian'"):
        Point().quantile(parameters, 0.5)
    with pytest.raises(ValueError, match="nothing to draw from"):
        Point().sample(parameters)


@pytest.mark.parametrize("shares", [[], [0.5, 0.5], [0.9, 0.1], [0.0, 0.5], [0.5, 1.0]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="must be increasing shares between 0 and 1"):
        Quantiles(shares)


def test_quantiles_belong_to_quantile():
    with pytest.raises(ValueError, match="learnt with distribution='quantile', and distribution='gaussian'"):
        make_density("gaussian", quantiles=[0.5])
    with pytest.raises(ValueError, match="share 1.0 of a quantile must lie between 0 and 1"):
        Gaussian().quantile(torch.zeros(1, 2), 1.0)
