"""Which steps of an episode a policy should learn from, by who commanded them."""

from collections.abc import Sequence
from itertools import groupby, pairwise

from dexvla.episodes.format import StepSource
from dexvla.spec import Stretch

_TEACHERS = (StepSource.HUMAN, StepSource.SCRIPTED)


def learnable(
    sources: Sequence[StepSource] | None, *, steps: int | None = None, jumps: Sequence[int] = ()
) -> tuple[Stretch, ...]:
    """Stretches of steps to learn from; () if that is every step, or no step says who commanded it.

    jumps: first steps after a joint of an edit at which the state jumps, of `steps` steps: no stretch reaches across
    one, since no robot could follow.

    Left out: mishaps on purpose; and, in an episode in which somebody took over from a policy, what the policy did.
    Learning it would teach the mistake that was corrected (HG-DAgger, arXiv 1810.02890). An episode that a policy did
    alone is learnt from as a whole, and so is one of nothing but mishaps, which is for whoever recorded it to judge.
    """
    found = _by_source(sources)
    if not jumps or steps is None:
        return found
    parts = []
    for stretch in found or (Stretch(start=0, end=steps),):
        borders = [stretch.start, *(at for at in jumps if stretch.start < at < stretch.end), stretch.end]
        parts += [Stretch(start=start, end=end) for start, end in pairwise(borders)]
    return tuple(parts)


def _by_source(sources: Sequence[StepSource] | None) -> tuple[Stretch, ...]:
    if sources is None:
        return ()
    out = {StepSource.DISTURBANCE}
    if any(source in _TEACHERS for source in sources):
        out.add(StepSource.POLICY)
    stretches, position = [], 0
    for left_out, group in groupby(sources, key=lambda source: source in out):
        end = position + len(list(group))
        if not left_out:
            stretches.append(Stretch(start=position, end=end))
        position = end
    return () if len(stretches) == 1 and stretches[0].end - stretches[0].start == position else tuple(stretches)
