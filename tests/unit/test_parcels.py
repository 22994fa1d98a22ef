from hypothesis import given
from hypothesis import strategies as st

from producer.answerer import Alarming, Doubted, Made, Noted
from producer.parcels import Asked, Credit, Cutter, Forget, Idle, Parcel, pack

numbers = st.integers(0, (1 << 63) - 1)
names = st.from_regex(r"[a-z0-9]{1,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
parcels: st.SearchStrategy[Parcel] = st.one_of(
    st.builds(Asked, st.binary(max_size=300)),
    st.builds(Forget, names),
    st.builds(Credit, numbers),
    st.builds(Idle, numbers),
    st.builds(Doubted, st.binary(max_size=300)),
    st.builds(Alarming, names, texts),
    st.builds(Noted, texts),
    st.builds(
        Made,
        *(names, names, numbers, numbers, st.integers(-(1 << 63), (1 << 63) - 1), st.floats(0, 1e6), st.binary()),
        st.integers(1, 4096),
    ),
)


@given(st.lists(parcels, max_size=10), st.integers(1, 40))
def test_what_is_packed_is_cut_again_however_it_comes(given_parcels: list[Parcel], step: int) -> None:
    data = b"".join(map(pack, given_parcels))
    cutter = Cutter()
    cut = [parcel for start in range(0, len(data), step) for parcel in cutter.cut(data[start : start + step])]
    assert cut == given_parcels
