"""The ttbar analysis as a function with a gradient: from a choice to its uncertainty.

A choice is a b-tag threshold and the edges of the fitted histograms. Where cuts are a
little soft, the uncertainty of ``ttbar_norm`` has a gradient with respect to them. All
of it is JAX's: it runs on a GPU where JAX finds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.scipy.stats import norm

from agc.hists.fill import in_steps
from agc.inputs.config import NOMINAL

if TYPE_CHECKING:
    from agc.hists.run import Result
    from agc.inputs.config import Config

__all__ = [
    "Choice",
    "Events",
    "Model",
    "best_fit",
    "choice_of",
    "covariance",
    "events_of",
    "expected",
    "log_likelihood",
    "model_of",
    "soft_histograms",
    "start_of",
    "uncertainty",
]

jax.config.update("jax_enable_x64", True)  # noqa: FBT003 - JAX's own function

#: By region: contents and sums of squared weights, as (replica, which of the two,
#: process, variation, bin); the last process is the data.
Histograms: TypeAlias = dict[str, Any]

#: Entries that are looked at in one go: only theirs is kept for a gradient.
BATCH = 256
#: No jet has such a discriminator: it stands where there is none.
NO_JET = -10.0
#: A cut keeps what is above it, a bin what is at its lower edge: this far from both.
TIE = 1e-7
#: The part of a histogram's range that is shared out evenly, so that no bin vanishes.
EVENLY = 0.25
#: Newton's method: steps, and the largest one of any parameter.
STEPS, LARGEST_STEP = 15, 0.5
_N = np.arange(1.0, 7)
_ALTERNATING = (-1.0) ** _N
#: From value, slope and curvature at +1 and -1 to the coefficients of the powers 1 to
#: 6: HistFactory's interpolation of a norm (pyhf's code 4).
INVERSE = np.linalg.inv(
    np.stack(
        [one * way for one in (_N**0, _N, _N * (_N - 1)) for way in (1, _ALTERNATING)]
    )
    * np.array([1, 1, 1, -1, 1, 1])[:, None]
)


class Choice(NamedTuple):
    """A b-tag threshold, bin edges in GeV, and over how much a cut in each extends."""

    threshold: Any
    edges: dict[str, Any]
    soft_tag: float
    soft_gev: float


class Events(NamedTuple):
    """Selected events, once for each kinematic variation, in batches of entries."""

    tags: Any  # (batch, entry, jet): discriminators, in the notebook's order
    masses: Any  # (batch, entry, jet): the observable if this is the first tagged one
    ht: Any  # (batch, entry)
    weights: Any  # (batch, variation, entry)
    factors: Any  # (batch, replica, entry)
    process: Any  # (batch,)


class Model(NamedTuple):
    """A HistFactory model and its data, the bins of all regions in one row."""

    nominal: Any  # (process, bin)
    shapes: Any  # (systematic, up and down, process, bin)
    norms: Any  # the same
    errors: Any  # (bin,): of the simulation's statistics, relative
    signal: Any  # (process, 1): what is scaled
    data: Any  # (bin,)


def choice_of(
    numbers: Mapping[str, Any], config: Config, soft_tag: float, soft_gev: float
) -> Choice:
    """Return the choice that free numbers stand for; zeros are the ordinary one.

    ``threshold`` is one number; each fitted region has one for each of its bins.
    """
    edges = {}
    for region, channel in config.fit_channels.items():
        n, first, high = config.variables[region].bins
        low = first if channel.low is None else channel.low
        n_bins = round(n * (high - low) / (high - first)) // channel.merged
        shares = jax.nn.softmax(jnp.zeros(n_bins) + numbers[region])
        upper = jnp.cumsum((1 - EVENLY) * shares + EVENLY / n_bins).at[-1].set(1)
        edges[region] = low + (high - low) * jnp.append(0, upper)
    return Choice(jax.nn.sigmoid(numbers["threshold"]), edges, soft_tag, soft_gev)


def events_of(
    result: Result,
    config: Config,
    *,
    half: int | None = None,
    replicas: int = 0,
) -> Events:
    """Arrange what the notebook's processor returned; a half of it counts twice.

    Replicas come after the events as they are: bootstraps, in each of which an event
    counts as often as Poisson's distribution says, the same in all of its entries.
    """
    found: list[tuple[float, str, dict[str, Any], Any]] = []
    for i, (name, sums) in enumerate(sorted(result.sums.items())):
        weight = result.weights[name] * (1 if half is None else 2)
        parts = [
            (process, {key: column.value for key, column in columns.items()})
            for (process, _), columns in sums["output"]["columns"].items()
        ]
        every = np.unique(np.concatenate([one["event"] for _, one in parts]))
        times = np.random.default_rng(i).poisson(1.0, (len(every), 1 + replicas))
        times[:, 0] = 1
        for process, one in parts:
            found.append(
                (weight, process, one, times[np.searchsorted(every, one["event"])])
            )
    width = max(int(one["jets"].max(initial=1)) for _, _, one, _ in found)
    batches = []
    for weight, process, one, times in found:
        n = len(one["ht"])
        weights = np.zeros((n, len(config.variations)))
        for row, variation in enumerate(config.variations):
            if variation in one:
                each = config.constants.get(variation, in_steps(one[variation]))
                weights[:, row] = each * weight
        there = np.arange(width) < one["jets"][:, None]
        tags, masses = np.full(there.shape, NO_JET), np.zeros(there.shape)
        tags[there], masses[there] = one["tags"] - TIE, one["masses"] + TIE
        kept = (half is None) | (one["event"] // 2 % 2 == half)
        filled = (tags, masses, one["ht"] + TIE, weights, times.astype(float))
        cut = [_batched(column[kept]) for column in filled]
        number = [*config.processes, config.data].index(process)
        batches.append([*cut, np.full(len(cut[0]), number)])
    arrays = map(np.concatenate, zip(*batches, strict=True))
    tags, masses, ht, weights, factors, process_of = map(jnp.asarray, arrays)
    columns = (tags, masses, weights, factors)
    tags, masses, weights, factors = (jnp.swapaxes(one, 1, 2) for one in columns)
    return Events(tags, masses, ht, weights, factors, process_of)


def _batched(entries: Any) -> Any:  # noqa: ANN401 - an array
    """Cut into batches, the last one filled up with zeros."""
    n = -(-len(entries) // BATCH)
    padding = [(0, n * BATCH - len(entries))] + [(0, 0)] * (entries.ndim - 1)
    return np.pad(entries, padding).reshape(n, BATCH, *entries.shape[1:])


def soft_histograms(choice: Choice, events: Events, config: Config) -> Histograms:
    """Fill the histograms of the two regions, by how likely an event is in each bin.

    A jet is tagged with a probability that rises around the threshold, and an event is
    above an edge with one that rises around the edge. With no softness these are 0 or
    1, and the histograms the ordinary ones.
    """
    regions = list(choice.edges)

    def above(values: Any, region: str) -> Any:  # noqa: ANN401 - arrays
        edges = choice.edges[region].reshape(-1, *[1] * values.ndim)
        return jax.nn.sigmoid((values - edges) / choice.soft_gev)

    def one_batch(_: None, batch: Events) -> tuple[None, list[Any]]:
        tagged = jax.nn.sigmoid((batch.tags - choice.threshold) / choice.soft_tag)
        before, after = [jnp.ones_like(batch.ht)], [jnp.ones_like(batch.ht)]
        for jet in tagged:
            before.append(before[-1] * (1 - jet))
        for jet in tagged[::-1]:
            after.append(after[-1] * (1 - jet))
        first, no_more = tagged * jnp.stack(before[:-1]), jnp.stack(after[-2::-1])
        control = above(batch.ht, regions[0]) * (first * no_more).sum(0)
        signal = above(batch.masses, regions[1]) * first * (1 - no_more)
        rows = jnp.stack([batch.weights, batch.weights**2])
        rows = batch.factors[:, None, None] * rows
        filled = (rows @ one.T for one in (control, signal.sum(1)))
        return None, [-jnp.diff(one) for one in filled]

    _, found = jax.lax.scan(jax.checkpoint(one_batch), None, events)
    n = len(config.processes) + 1
    found = [jax.ops.segment_sum(one, events.process, n) for one in found]
    return {r: jnp.moveaxis(f, 0, 2) for r, f in zip(regions, found, strict=True)}


def model_of(histograms: Histograms, config: Config) -> Model:
    """Build the model that `agc.model.workspace.build_workspace` makes of histograms.

    They are without replicas here: (which of the two, process, variation, bin).
    """
    n, names = len(config.processes), list(config.variations)
    systematics, processes = config.systematics, list(config.processes)
    acts = np.array([[s.acts_on(p) for p in processes] for s in systematics])
    used = [(s.variations * 2 or (NOMINAL,) * 2)[:2] for s in systematics]
    rows = acts[:, None] * np.array([[[names.index(v)] for v in two] for two in used])
    sizes = acts * np.array([[s.size if s.kind == "norm" else 0] for s in systematics])
    mirrored = np.array([len(s.variations) == 1 for s in systematics])[:, None, None]
    parts = []
    for values, variances in histograms.values():
        nominal = values[:n, 0]
        varied = values[np.arange(n), rows]  # (systematic, up and down, process, bin)
        norms = varied.sum(-1, keepdims=True) / nominal.sum(-1, keepdims=True)
        shapes = varied / norms
        up, down = norms[:, 0] + sizes[..., None], norms[:, 1] - sizes[..., None]
        norms = jnp.stack([up, jnp.where(mirrored, 2 - up, down)], axis=1)
        down = jnp.where(mirrored, 2 * nominal - shapes[:, 0], shapes[:, 1])
        shapes = jnp.stack([shapes[:, 0], down], axis=1)
        norms = jnp.broadcast_to(norms, shapes.shape)
        # samples of its own for the data: what their variance has beyond Poisson's
        own = values[n].sum() > 0
        samples = np.array([names.index(name) for name in ("ME_var", "PS_var")])
        source = jnp.where(own, values[n], values[processes.index(config.signal)])
        mean, spread = source[samples].mean(0), variances[n, samples].mean(0) / 2
        beyond = jnp.where(own, jnp.maximum(spread - mean, 0), 0)
        errors = jnp.sqrt(variances[:n, 0].sum(0) + beyond) / nominal.sum(0)
        data = mean + values[processes.index("wjets"), 0]
        parts.append((nominal, shapes, norms, errors, data))
    nominal, shapes, norms, errors, data = (
        jnp.concatenate(part, axis=-1) for part in zip(*parts, strict=True)
    )
    signal = jnp.array([[float(process == config.signal)] for process in processes])
    return Model(nominal, shapes, norms, errors, signal, data)


def start_of(model: Model) -> Any:  # noqa: ANN401 - an array
    """Return the parameters before a fit: signal, systematics, factors of the bins."""
    n, n_bins = len(model.shapes), len(model.data)
    return jnp.concatenate([jnp.ones(1), jnp.zeros(n), jnp.ones(n_bins)])


def expected(model: Model, parameters: Any) -> Any:  # noqa: ANN401 - arrays
    """Return the contents that the model predicts for some parameters.

    Interpolated as pyhf does by default: shapes by its code 4p, norms by its code 4.
    """
    n = len(model.shapes)
    alpha = parameters[1 : n + 1, None, None]
    up, down = model.shapes[:, 0] - model.nominal, model.nominal - model.shapes[:, 1]
    inside = alpha**2 * (15 - 10 * alpha**2 + 3 * alpha**4) * (up - down) / 16
    inside += alpha * (up + down) / 2
    shift = jnp.where(abs(alpha) > 1, alpha * jnp.where(alpha > 0, up, down), inside)
    logs, signs = jnp.log(model.norms), jnp.array([1.0, -1.0])[:, None, None]
    terms = (model.norms - 1, signs * logs * model.norms, logs**2 * model.norms)
    powers = jnp.einsum("pt,ktsb->kpsb", INVERSE, jnp.concatenate(terms, axis=1))
    one, two, three = (alpha[:, 0, 0] ** n for n in (1, 2, 3))
    products = jnp.stack([one, two, three, two**2, two * three, three**2], axis=1)
    inside = 1 + jnp.einsum("kpsb,kp->ksb", powers, products)
    outside = jnp.exp(abs(alpha) * jnp.where(alpha > 0, logs[:, 0], logs[:, 1]))
    factor = jnp.where(abs(alpha) > 1, outside, inside)
    yields = (model.nominal + shift.sum(0)) * jnp.exp(jnp.log(factor).sum(0))
    yields *= 1 + model.signal * (parameters[0] - 1)
    return parameters[n + 1 :] * yields.sum(0)


def log_likelihood(model: Model, parameters: Any, data: Any) -> Any:  # noqa: ANN401
    """Return the logarithm of the likelihood, of the auxiliary data too."""
    n, mean = len(model.shapes), expected(model, parameters)
    poisson = data * jnp.log(mean) - mean - gammaln(data + 1)
    systematics = norm.logpdf(parameters[1 : n + 1])
    statistics = norm.logpdf(parameters[n + 1 :], 1, model.errors)
    return poisson.sum() + systematics.sum() + statistics.sum()


def covariance(model: Model, parameters: Any, data: Any) -> Any:  # noqa: ANN401 - arrays
    """Return the inverse of the likelihood's second derivatives."""
    hessian = jax.hessian(log_likelihood, argnums=1)(model, parameters, data)
    return -jnp.linalg.inv(hessian)


def fisher(model: Model, parameters: Any) -> Any:  # noqa: ANN401 - arrays
    """Return Fisher's information on the parameters, of the auxiliary data too.

    It is the second derivative for data as the model predicts them.
    """
    slopes = jax.jacfwd(expected, argnums=1)(model, parameters)
    ones = jnp.ones(len(model.shapes))
    auxiliary = jnp.concatenate([jnp.zeros(1), ones, model.errors**-2])
    return slopes.T @ (slopes / expected(model, parameters)[:, None]) + jnp.diag(
        auxiliary
    )


def uncertainty(model: Model) -> Any:  # noqa: ANN401 - a number
    """Return the uncertainty of the signal that is expected before the fit."""
    return jnp.sqrt(jnp.linalg.inv(fisher(model, start_of(model)))[0, 0])


def best_fit(model: Model) -> Any:  # noqa: ANN401 - an array
    """Return the parameters with the largest likelihood, by Fisher's scoring."""

    def step(_: int, parameters: Any) -> Any:  # noqa: ANN401 - arrays
        slope = jax.grad(log_likelihood, argnums=1)(model, parameters, model.data)
        move = jnp.linalg.solve(fisher(model, parameters), slope)
        return parameters + jnp.clip(move, -LARGEST_STEP, LARGEST_STEP)

    return jax.lax.fori_loop(0, STEPS, step, start_of(model))
