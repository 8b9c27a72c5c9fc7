"""Agreement of a namespaceSelector over namespaces with what it comes to for that which belongs to them."""

from hypothesis import given
from hypothesis import strategies as st

from hostfw.policy.effective_labels import index_labels, selected
from hostfw.selector.evaluate import Selector, canonical, matches, parse
from hostfw.selector.namespaces import NAME_LABELS, labels_by_namespace, of_namespaces
from hostfw.selector.nodes import All, And, Comparison, Has, In, Not, NotIn, Operator, Or

_NAMES = st.sampled_from(("shop", "bank", "default"))
_KEYS = st.sampled_from(("env", "tier", *NAME_LABELS))
_VALUES = st.sampled_from(("prod", "test", "shop", "bank", ""))
_LABELS = st.dictionaries(st.sampled_from(("env", "tier")), _VALUES)
_LEAVES: st.SearchStrategy[Selector] = st.one_of(
    st.builds(Has, _KEYS),
    st.builds(Comparison, _KEYS, st.sampled_from(Operator), _VALUES),
    st.builds(In, _KEYS, st.frozensets(_VALUES)),
    st.builds(NotIn, _KEYS, st.frozensets(_VALUES)),
)


def _joined(parts: st.SearchStrategy[Selector]) -> st.SearchStrategy[Selector]:
    some = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, parts) | st.builds(And, some) | st.builds(Or, some)


_SELECTORS = st.recursive(_LEAVES, _joined, max_leaves=6)


@given(_SELECTORS, _NAMES, _LABELS, _LABELS)
def test_what_is_in_a_namespace_is_selected_by_the_labels_of_it(
    selector: Selector, name: str, labels: dict[str, str], own: dict[str, str]
) -> None:
    """And by nothing that it is labelled with itself."""
    of_namespace = {**labels, **dict.fromkeys(NAME_LABELS, name)}
    of_member = {**own, **labels_by_namespace(name, labels.items())}
    within = parse(canonical(of_namespaces(selector)))

    assert matches(within, of_member) == matches(selector, of_namespace)
    assert bool(selected(within, index_labels([of_member]))) == matches(selector, of_namespace)


@given(_SELECTORS, _LABELS)
def test_what_is_in_none_is_selected_as_if_it_had_no_labels(selector: Selector, own: dict[str, str]) -> None:
    """A negation holds for it, as in Calico; `all()` before it does not."""
    assert matches(of_namespaces(selector), own) == matches(selector, {})
    assert not matches(of_namespaces(And((All(), selector))), own)
