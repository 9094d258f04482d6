"""Hypergraphs: hand-worked cases H1 and H2, closed forms, spectra, networkx, leaving labels out, the Gaussian floor."""

from __future__ import annotations

import math
from dataclasses import replace

import networkx as nx
import numpy as np
import oracles_hypergraph as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fercleaner.core.errors import InputError
from fercleaner.core.types import Neighbors
from fercleaner.similarity.hypergraph import (
    WEIGHT_FLOOR,
    Hypergraph,
    build,
    edge_weights,
    estimated_influence,
    leave_out_propagate,
    propagate,
)

FORMS = ("random-walk", "symmetric")
ALPHAS = (0.1, 0.5, 0.8, 0.95)


def from_edges(edges, n, weight=None):
    """A hypergraph from lists of members; weights of 1 by default."""
    incidence = np.zeros((n, len(edges)), dtype=np.float32)
    for e, members in enumerate(edges):
        incidence[members, e] = 1
    weight = np.ones(len(edges)) if weight is None else np.asarray(weight, dtype=np.float64)
    return Hypergraph(sparse.csr_matrix(incidence), weight, ("view",))


def dense(graph, form):
    return graph.smooth(np.eye(graph.incidence.shape[0], dtype=np.float32), form)


def random_tables(seed, n=30, k=4, views=2, missing=0.2):
    """Neighbor tables of random faces, some without neighbors in some view."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"f{i}" for i in range(n)])
    tables = {}
    for v in range(views):
        found = rng.random(n) >= missing
        indices, similarity = oracle.nearest(rng.normal(size=(n, 3)), found, k)
        tables[f"view {v}"] = Neighbors(f"view {v}", ids, indices, similarity)
    return tables


def as_pairs(tables):
    return [(table.indices, table.similarity) for table in tables.values()]


# Case H1: x = 0, 1, 3, 4 on a line, hyperedge = center and its 2 nearest, weights 1.
H1 = from_edges([[0, 1, 2], [1, 0, 2], [2, 3, 1], [3, 2, 1]], 4)
AAAB = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
# Case H2: x = 0, 1, 3, 7: face 3 is an outlier that nobody names.
H2_EDGES = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]
H2_DISTANCE = np.array([[1.0, 3.0], [1.0, 2.0], [2.0, 3.0], [4.0, 6.0]])


def normalized(values):
    return values / values.sum(1, keepdims=True)


def test_H1_degrees_and_operator():
    np.testing.assert_allclose(H1.vertex_degree, [2, 4, 4, 2])
    np.testing.assert_allclose(H1.edge_degree, [3, 3, 3, 3])
    s = 0.235702
    expected = [[1 / 3, s, s, 0], [s, 1 / 3, 1 / 3, s], [s, 1 / 3, 1 / 3, s], [0, s, s, 1 / 3]]
    theta = dense(H1, "symmetric")
    np.testing.assert_allclose(theta, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.eigvalsh(theta.astype(np.float64)), [0, 0, 1 / 3, 1], atol=1e-6)


def test_H1_fixed_point():
    solved = propagate(H1, AAAB, 0.5, form="symmetric", tolerance=1e-7)
    expected = [[0.869036, 0.033333], [0.951184, 0.117851], [0.951184, 0.117851], [0.269036, 0.633333]]
    np.testing.assert_allclose(solved, expected, atol=2e-6)
    rows = [[0.963060, 0.036940], [0.889759, 0.110241], [0.889759, 0.110241], [0.298144, 0.701856]]
    np.testing.assert_allclose(normalized(solved), rows, atol=2e-6)


def test_H1_iterates_of_the_lone_face():
    theta = dense(H1, "symmetric").astype(np.float64)
    for steps, expected in enumerate([(0.235702, 0.666667), (0.263480, 0.638889), (0.268110, 0.634259)], 1):
        np.testing.assert_allclose(oracle.iterate(theta, AAAB, 0.5, steps)[3], expected, atol=2e-6)


def test_H1_at_alpha_9_the_lone_label_flips():
    solved = normalized(propagate(H1, AAAB, 0.9, form="symmetric", tolerance=1e-7))
    np.testing.assert_allclose(solved[3], [0.670702, 0.329298], atol=2e-6)


def test_H1_random_walk_rows_are_the_symmetric_ones_rescaled():
    """P = D^-1/2 Theta D^1/2, so that F_walk = D^-1/2 F_sym(D^1/2 Y)."""
    root = np.sqrt([2, 4, 4, 2])[:, None]
    expected = propagate(H1, (root * AAAB).astype(np.float32), 0.5, form="symmetric", tolerance=1e-7) / root
    np.testing.assert_allclose(propagate(H1, AAAB, 0.5, tolerance=1e-7), expected, atol=1e-6)


def test_H1_soft_incidence():
    """HGNN's default: H_ie = exp(-d^2 / dbar_e^2), dbar_e the mean distance of e to all, itself included."""
    x = np.array([0.0, 1.0, 3.0, 4.0])
    incidence = np.zeros((4, 4), dtype=np.float32)
    for e, members in enumerate([[0, 1, 2], [1, 0, 2], [2, 3, 1], [3, 2, 1]]):
        for i in members:
            incidence[i, e] = math.exp(-((x[i] - x[e]) ** 2) / np.abs(x - x[e]).mean() ** 2)
    np.testing.assert_allclose(incidence[:, 0], [1, 0.778801, 0.105399, 0], atol=1e-6)
    graph = Hypergraph(sparse.csr_matrix(incidence), np.ones(4), ("x",))
    solved = propagate(graph, AAAB, 0.5, form="symmetric", tolerance=1e-7)
    np.testing.assert_allclose(solved[3], [0.266204, 0.704825], atol=2e-6)
    np.testing.assert_allclose(normalized(solved)[3], [0.274146, 0.725854], atol=2e-6)


def test_H2_with_weights_of_one():
    graph = from_edges(H2_EDGES, 4)
    np.testing.assert_allclose(graph.vertex_degree, [3, 4, 4, 1])
    np.testing.assert_allclose(dense(graph, "symmetric")[3], [0, 0.166667, 0.166667, 0.333333], atol=1e-6)
    solved = propagate(graph, AAAB, 0.5, form="symmetric", tolerance=1e-7)
    np.testing.assert_allclose(solved[3], [0.195534, 0.616667], atol=2e-6)


@pytest.mark.parametrize("form", FORMS)
def test_H2_own_influence_taken_off(form):
    """The diagonal of (1 - alpha) (I - alpha P)^-1 is the same for both forms, similar by a diagonal matrix."""
    graph = from_edges(H2_EDGES, 4)
    own = np.diag(0.5 * np.linalg.inv(np.eye(4) - 0.5 * dense(graph, form)))
    np.testing.assert_allclose(own, [0.65, 0.666667, 0.666667, 0.616667], atol=2e-6)
    solved = propagate(graph, AAAB, 0.5, form="symmetric", tolerance=1e-7) - own[:, None] * AAAB
    np.testing.assert_allclose(solved[3], [0.195534, 0], atol=2e-6)


def test_H2_gaussian_weights_let_the_outlier_keep_its_label():
    weight = edge_weights(H2_DISTANCE, np.ones((4, 2), dtype=bool))
    np.testing.assert_allclose(weight, [0.516254, 0.718508, 0.423372, 0.032128], atol=1e-6)
    np.testing.assert_allclose(weight, edge_weights(H2_DISTANCE, np.ones((4, 2), dtype=bool), sigma=2.75))
    graph = from_edges(H2_EDGES, 4, weight)
    np.testing.assert_allclose(graph.vertex_degree, [1.658134, 1.690262, 1.690262, 0.032128], atol=1e-6)
    solved = propagate(graph, AAAB, 0.5, form="symmetric", tolerance=1e-7)
    np.testing.assert_allclose(solved[3], [0.055060, 0.601267], atol=2e-6)
    np.testing.assert_allclose(normalized(solved)[3], [0.083891, 0.916109], atol=2e-6)


def test_H1_gaussian_weights_leave_the_symmetric_case_unchanged():
    weight = edge_weights(np.array([[1.0, 3.0], [1.0, 2.0], [1.0, 2.0], [1.0, 3.0]]), np.ones((4, 2), dtype=bool))
    weighted = from_edges([[0, 1, 2], [1, 0, 2], [2, 3, 1], [3, 2, 1]], 4, weight)
    assert not np.allclose(weight, weight[0])
    np.testing.assert_allclose(dense(weighted, "symmetric")[1, 2], 1 / 3, atol=1e-6)


def test_gaussian_weights_are_floored_and_never_zero():
    distance = np.array([[1e-3], [1e-3], [1e-3], [2.0]])
    weight = edge_weights(distance, np.ones((4, 1), dtype=bool), sigma=0.01)
    assert weight[3] == WEIGHT_FLOOR
    assert (weight[:3] > 0.98).all()


def test_gaussian_weights_of_padding_and_of_equal_faces():
    valid = np.array([[True, True], [True, False], [False, False]])
    distance = np.array([[0.3, 0.5], [0.4, 99.0], [99.0, 99.0]])
    sigma = (0.3 + 0.5 + 0.4) / 3
    expected = [math.exp(-(0.3**2 + 0.5**2) / 2 / sigma**2), math.exp(-(0.4**2) / sigma**2), 0]
    np.testing.assert_allclose(edge_weights(distance, valid), expected)
    assert edge_weights(np.zeros((3, 2)), np.ones((3, 2), dtype=bool)).tolist() == [1, 1, 1]
    assert edge_weights(np.zeros((2, 1)), np.zeros((2, 1), dtype=bool)).tolist() == [0, 0]


@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_build_equals_the_loops(seed, k):
    tables = random_tables(seed)
    n = 30
    graph = build(tables, k=k, view_weight={"view 1": 2.5})
    incidence, distances = oracle.incidence_of(as_pairs(tables), k)
    weight = np.array(
        oracle.gaussian_weights(distances[:n]) + [2.5 * w for w in oracle.gaussian_weights(distances[n:])]
    )
    assert np.array_equal(graph.incidence.toarray(), incidence)
    np.testing.assert_allclose(graph.edge_weight, weight, rtol=1e-6)
    np.testing.assert_allclose(graph.vertex_degree, incidence @ weight, rtol=1e-6)
    assert graph.views == ("view 0", "view 1")
    for form in FORMS:
        np.testing.assert_allclose(dense(graph, form), oracle.operator(incidence, weight, form), atol=1e-6)


def test_build_without_the_kernel_weighs_every_hyperedge_by_one():
    tables = random_tables(2)
    graph = build(tables, gaussian=False)
    has = np.concatenate([(table.indices >= 0).any(1) for table in tables.values()])
    assert np.array_equal(graph.edge_weight, has.astype(float))


def test_hyperedges_are_not_merged_and_belong_to_their_center():
    """Three faces that all name one another: three equal hyperedges stay three."""
    ids = np.array(["a", "b", "c"])
    table = Neighbors("v", ids, [[1, 2], [0, 2], [0, 1]], np.full((3, 2), 0.5))
    graph = build({"v": table})
    assert np.array_equal(graph.incidence.toarray(), np.ones((3, 3)))


def test_build_refuses_nothing_and_tables_of_other_faces():
    with pytest.raises(InputError, match="needs neighbors in at least one view"):
        build({})
    here = Neighbors("a", np.array(["x", "y"]), [[1], [0]], np.ones((2, 1)))
    there = Neighbors("b", np.array(["y", "x"]), [[1], [0]], np.ones((2, 1)))
    with pytest.raises(InputError, match="Neighbors of view 'b' are over other faces than those of 'a'"):
        build({"a": here, "b": there})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_propagation_equals_the_closed_form(seed, alpha, form):
    graph = build(random_tables(seed))
    labels = np.random.default_rng(seed).random((30, 5)).astype(np.float32)
    incidence, weight = graph.incidence.toarray().astype(np.float64), graph.edge_weight
    exact = oracle.solve(oracle.operator(incidence, weight, form), labels.astype(np.float64), alpha)
    np.testing.assert_allclose(propagate(graph, labels, alpha, form=form), exact, atol=3e-5)
    np.testing.assert_allclose(propagate(graph, labels, alpha, form=form, tolerance=1e-7), exact, atol=3e-6)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_plain_iteration_errs_by_at_most_alpha_to_the_t(alpha):
    """The closed form that the propagation meets is the limit of F <- alpha Theta F + (1 - alpha) Y."""
    graph = build(random_tables(4, missing=0.0))
    labels = np.eye(5, dtype=np.float64)[np.arange(30) % 5]
    theta = dense(graph, "symmetric").astype(np.float64)
    limit = propagate(graph, labels.astype(np.float32), alpha, form="symmetric", tolerance=1e-7)
    first = np.linalg.norm(labels - limit)
    for steps in (1, 3, 10, 30):
        error = np.linalg.norm(oracle.iterate(theta, labels, alpha, steps) - limit)
        assert error <= alpha**steps * first + 1e-4


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_the_tolerance_bounds_the_error(tolerance):
    graph = build(random_tables(5))
    labels = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    exact = oracle.solve(dense(graph, "symmetric").astype(np.float64), labels.astype(np.float64), 0.9)
    error = propagate(graph, labels, 0.9, form="symmetric", tolerance=tolerance) - exact
    assert np.linalg.norm(error) <= tolerance * np.linalg.norm(exact) + 1e-6


@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_spectrum_and_fixed_vectors(seed, n, k, views):
    graph = build(random_tables(seed, n=n, k=k, views=views, missing=0.3))
    theta, walk = dense(graph, "symmetric").astype(np.float64), dense(graph, "random-walk").astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(theta)
    assert eigenvalues.min() > -1e-6
    assert eigenvalues.max() < 1 + 1e-6
    np.testing.assert_allclose(theta, theta.T, atol=1e-7)
    root = np.sqrt(graph.vertex_degree)
    np.testing.assert_allclose(theta @ root, root, atol=1e-5)
    np.testing.assert_allclose(walk.sum(1), graph.vertex_degree > 0, atol=1e-5)
    assert walk.min() >= 0


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_random_walk_keeps_rows_on_the_simplex_and_the_symmetric_form_does_not(alpha):
    graph = build(random_tables(6))
    labels = np.random.default_rng(0).dirichlet(np.ones(4), 30).astype(np.float32)
    connected = graph.vertex_degree > 0
    walked = propagate(graph, labels, alpha, tolerance=1e-7)
    np.testing.assert_allclose(walked[connected].sum(1), 1, atol=1e-5)
    assert walked.min() > -1e-6
    sums = propagate(graph, labels, alpha, form="symmetric")[connected].sum(1)
    assert np.abs(sums - 1).max() > 0.01


def test_a_2_uniform_hypergraph_is_half_the_identity_plus_the_normalized_adjacency():
    graph_of_pairs = nx.gnp_random_graph(20, 0.2, seed=3)
    rng = np.random.default_rng(0)
    weight = rng.random(graph_of_pairs.number_of_edges()) + 0.1
    for (a, b), w in zip(graph_of_pairs.edges, weight, strict=True):
        graph_of_pairs[a][b]["weight"] = w
    graph = from_edges([list(edge) for edge in graph_of_pairs.edges], 20, weight)
    laplacian = nx.normalized_laplacian_matrix(graph_of_pairs).toarray()
    alive = np.array([graph_of_pairs.degree(i) > 0 for i in range(20)], dtype=float)
    adjacency = np.diag(alive) - laplacian
    np.testing.assert_allclose(dense(graph, "symmetric"), (np.diag(alive) + adjacency) / 2, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_degrees_and_components_equal_networkx(seed):
    """The star expansion: faces on one side, hyperedges on the other."""
    tables = random_tables(seed, n=24, k=1, views=1 + seed % 2, missing=0.4)
    graph = build(tables)
    star = nx.Graph()
    star.add_nodes_from(("face", i) for i in range(24))
    for v, (indices, _) in enumerate(as_pairs(tables)):
        for i in range(24):
            members = [j for j in indices[i].tolist() if j >= 0]
            for j in [*members, i] if members else []:
                star.add_edge(("face", j), ("edge", v * 24 + i), weight=graph.edge_weight[v * 24 + i])
    weighted = [star.degree(("face", i), weight="weight") for i in range(24)]
    np.testing.assert_allclose(graph.vertex_degree, weighted, rtol=1e-6)
    sizes = [star.degree(("edge", e)) if ("edge", e) in star else 0 for e in range(len(graph.edge_weight))]
    assert graph.edge_degree.tolist() == sizes
    reached = propagate(graph, np.eye(24, dtype=np.float32), 0.9)
    together = np.zeros((24, 24), dtype=bool)
    for component in nx.connected_components(star):
        faces = [name for kind, name in component if kind == "face"]
        together[np.ix_(faces, faces)] = True
    assert not reached[~together].any()
    assert len(list(nx.connected_components(star))) > 1
    near = np.linalg.matrix_power((dense(graph, "random-walk") > 0).astype(float), 6) > 0
    assert (reached[near] > 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_isolated_faces_keep_their_own_share_and_nothing_else(form):
    ids = np.array(list("abcd"))
    graph = build({"v": Neighbors("v", ids, [[1], [0], [-1], [-1]], [[0.5], [0.5], [0], [0]])})
    labels = np.eye(4, dtype=np.float32)
    assert graph.vertex_degree[2:].tolist() == [0, 0]
    solved = propagate(graph, labels, 0.75, form=form)
    np.testing.assert_allclose(solved[2:], 0.25 * labels[2:], atol=1e-7)
    assert not graph.smooth(labels, form)[2:].any()
    assert np.isfinite(solved).all()


@pytest.mark.parametrize("form", FORMS)
def test_alpha_zero_returns_the_labels_and_an_alpha_near_it_almost(form):
    graph = build(random_tables(7))
    labels = np.random.default_rng(0).random((30, 2)).astype(np.float32)
    same = propagate(graph, labels, 0, form=form)
    assert np.array_equal(same, labels)
    assert same is not labels
    for alpha in (1e-12, 1e-9, 1e-6):
        np.testing.assert_allclose(propagate(graph, labels, alpha, form=form), labels, atol=1e-5)


@pytest.mark.parametrize("alpha", [-0.1, 1.0, 1.5, math.nan])
def test_alpha_outside_its_range_is_an_error(alpha):
    with pytest.raises(InputError, match=rf"alpha = {alpha}: expected 0 <= alpha < 1"):
        propagate(H1, AAAB, alpha)


def test_more_columns_than_one_block_are_propagated_alike():
    graph = build(random_tables(8))
    labels = np.random.default_rng(0).random((30, 133)).astype(np.float32)
    whole = propagate(graph, labels, 0.8)
    for column in (0, 39, 40, 41, 132):
        alone = propagate(graph, labels[:, [column]], 0.8)
        np.testing.assert_allclose(whole[:, [column]], alone, atol=1e-6)
    assert propagate(graph, labels[:, :0], 0.8).shape == (30, 0)


def test_self_influence_is_what_a_label_adds_to_its_own_score():
    graph = build(random_tables(9, n=12))
    own = oracle.self_influence(graph, 0.7)
    for i in range(12):
        alone = np.zeros((12, 1), dtype=np.float32)
        alone[i] = 1
        assert propagate(graph, alone, 0.7, tolerance=1e-7)[i, 0] == pytest.approx(own[i], abs=1e-5)


@pytest.mark.parametrize(("seed", "n", "alpha"), [(9, 60, 0.7), (3, 200, 0.8), (4, 200, 0.9)])
def test_the_estimated_influence_is_near_the_exact_one(seed, n, alpha):
    graph = build(random_tables(seed, n=n))
    signs = np.random.default_rng(seed).choice(np.float32([-1, 1]), size=(n, 64))
    exact, estimated = oracle.self_influence(graph, alpha), estimated_influence(graph, alpha, signs)
    off = estimated - exact
    beyond = exact - (1 - alpha)  # what returns on walks of one step or more
    assert np.sqrt(np.mean(off**2)) < 0.3 * beyond.mean()
    assert abs(off.mean()) < 0.1 * beyond.mean()
    many = np.random.default_rng(seed).choice(np.float32([-1, 1]), size=(n, 2000))
    assert abs((estimated_influence(graph, alpha, many) - exact).mean()) < 0.02 * beyond.mean()


def test_a_face_without_a_hyperedge_has_its_direct_share_alone():
    table = random_tables(5, n=20)
    view, rows = next(iter(table.items()))
    empty = rows.indices.copy()
    empty[empty == 3] = -1
    empty[3] = -1
    alone = build({view: replace(rows, indices=empty, similarity=np.where(empty < 0, 0, rows.similarity))})
    signs = np.ones((20, 1), dtype=np.float32)
    assert alone.vertex_degree[3] == 0
    assert estimated_influence(alone, 0.8, signs)[3] == pytest.approx(0.2)
    assert oracle.self_influence(alone, 0.8)[3] == pytest.approx(0.2)


@pytest.mark.parametrize("form", FORMS)
def test_leave_out_propagation_equals_one_run_a_fold(form):
    graph = build(random_tables(10))
    labels = np.random.default_rng(1).random((30, 3)).astype(np.float32)
    fold = np.arange(30) % 4
    together = leave_out_propagate(graph, labels, fold, 0.8, form=form)
    assert together.shape == (30, 4, 3)
    walk = oracle.operator(graph.incidence.toarray().astype(np.float64), graph.edge_weight, form)
    for b in range(4):
        kept = np.array([[0.0] * 3 if fold[i] == b else labels[i].tolist() for i in range(30)])
        np.testing.assert_allclose(together[:, b], oracle.solve(walk, kept, 0.8), atol=3e-5)


def test_leave_out_scores_do_not_hang_on_the_label_they_judge():
    graph = build(random_tables(11))
    rng = np.random.default_rng(0)
    labels, fold = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 30)], np.arange(30) % 5
    before = leave_out_propagate(graph, labels, fold, 0.8)
    for i in range(30):
        turned = labels.copy()
        turned[i] = np.roll(turned[i], 1)
        after = leave_out_propagate(graph, turned, fold, 0.8)
        assert np.array_equal(before[:, fold[i]], after[:, fold[i]])
