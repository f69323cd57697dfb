"""Proposals: made on request, stored apart from the labels, and counted by what people make of them.

What takes long (reading motions, comparing episodes, asking a model) is done outside any write transaction: the saves
of those who label must not wait for it.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy.orm import Session

from backend.core.db import database_now
from backend.core.errors import InvalidError, NotFoundError
from backend.episodes.files import file_of
from backend.episodes.service import find
from backend.identity.actor import Actor
from backend.labels.drafts.repository import blind_for
from backend.labels.proposals import copying, motion, repository, vision
from backend.labels.proposals.brought import found_again
from backend.labels.proposals.schemas import (
    BoundaryOut,
    BoundaryPart,
    CalibrationOut,
    CandidatesOut,
    ProposalOut,
    SimilarIn,
    SourcesOut,
    SourceStatistics,
    StatisticsOut,
    TemplateIn,
    VerdictsIn,
    VisionIn,
)
from backend.studio.context import Studio
from backend.studio.events import publish_after_commit
from backend.tables.dataset import Dataset
from backend.tables.episode import EpisodeRow
from backend.tables.proposal import Proposal, ProposalSource, ProposalState
from backend.tables.proposal_verdict import ProposalVerdict, Verdict
from backend.tables.segment import ProposalSegment
from dexvla.episodes.contact_sheet import Sheet, contact_sheets, even_steps
from dexvla.episodes.reader import open_episode
from dexvla.errors import EpisodeError
from dexvla.segmentation.boundaries import Boundary, BoundarySource, Candidate, merged

_TENTHS = 10
_READ_BACK = timedelta(seconds=1)  # what a stored moment may lose in its digits
_LOST = "The studio was stopped while the model was asked. Ask again."


def candidates(db: Session, studio: Studio, episode_id: str) -> CandidatesOut:
    row = find(db, episode_id)
    return CandidatesOut(
        episode_id=row.id,
        steps=row.steps,
        fps=motion.fps_of(row),
        settings=asdict(motion.SETTINGS),
        boundaries=[_boundary_out(one) for one in _boundaries(db, studio, row)],
    )


def _boundaries(db: Session, studio: Studio, row: EpisodeRow) -> list[Boundary]:
    """Of marks, of the motion, and of the substeps that the file brought."""
    found = motion.found(studio, row)
    for one in _newest(db, studio, row):
        if one.source is ProposalSource.SCRIPTED:
            found += [
                Candidate(step=part.start, confidence=part.confidence, source=BoundarySource.SCRIPTED)
                for part in one.segments[1:]
            ]
    return merged(found, motion.fps_of(row), motion.SETTINGS)


def _boundary_out(boundary: Boundary) -> BoundaryOut:
    parts = [
        BoundaryPart(source=ProposalSource(part.source.value), arm=part.arm, step=part.step, confidence=part.confidence)
        for part in boundary.parts
    ]
    return BoundaryOut(step=boundary.step, confidence=round(boundary.confidence, 4), parts=parts)


def proposals(db: Session, studio: Studio, episode_id: str) -> list[ProposalOut]:
    """The newest of each source."""
    row = find(db, episode_id)
    return [_kept(studio, one) if one.id is None else _out(db, one) for one in _newest(db, studio, row)]


def _newest(db: Session, studio: Studio, row: EpisodeRow) -> list[Proposal]:
    """Of each source; what an older episode's file brought is not stored yet, and has no id."""
    stored = repository.newest(db, row.id)
    if any(one.source in (ProposalSource.SCRIPTED, ProposalSource.IMPORTED) for one in stored):
        return stored
    again = found_again(db, studio, row)
    return stored if again is None else [again, *stored]


def _kept(studio: Studio, again: Proposal) -> ProposalOut:
    """Store it, unless somebody else just did: verdicts about it need its id."""
    with studio.db.transaction() as db:
        find(db, again.episode_id)
        for one in repository.newest(db, again.episode_id):
            if one.source is again.source:
                return _out(db, one)
        db.add(again)
        db.flush()
        return _out(db, again)


def sources(studio: Studio) -> SourcesOut:
    return SourcesOut(vision=vision.about(studio.settings))


# --- making proposals -----------------------------------------------------------------------------------------


def propose(studio: Studio, me: Actor, episode_id: str, body: TemplateIn | SimilarIn | VisionIn) -> ProposalOut:
    """Raises NotFoundError, and InvalidError where there is nothing to make a proposal from."""
    if isinstance(body, VisionIn):
        return _look(studio, me, episode_id, body)
    with studio.db.transaction(write=False) as db:
        row = find(db, episode_id)
        try:
            if isinstance(body, TemplateIn):
                segments, settings, report = usual_sequence(db, studio, row, body.sequence)
            else:
                hidden = {key for key, _ in blind_for(db, row.dataset_id, me.id)}
                segments, settings, report = copying.similar(db, studio, row, body.neighbours, hidden=hidden)
        except EpisodeError as error:
            raise NotFoundError(f"The file of episode {row.number} cannot be read: {error}") from error
    made = Proposal(
        episode_id=episode_id,
        source=ProposalSource(body.source),
        segments=segments,
        settings=settings,
        report=report,
        asked_by=me.id,
        asked_by_name=me.name,
    )
    return _store(studio, made)


def usual_sequence(db: Session, studio: Studio, row: EpisodeRow, sequence: Sequence[str] | None) -> copying.Made:
    """See copying.template. Reads the motion, unless its boundaries are known already; raises EpisodeError."""
    found = [(one.step, one.confidence) for one in _boundaries(db, studio, row)]
    return copying.template(db, row, sequence, found)


def _store(studio: Studio, made: Proposal, *, patience: float | None = None) -> ProposalOut:
    """patience: seconds after which one that is still running is lost, by the database's clock as all that read it."""
    with studio.db.transaction() as db:
        find(db, made.episode_id)
        if patience is not None:
            made.created_at = database_now(db)
            made.until = made.created_at + timedelta(seconds=patience)
        db.add(made)
        db.flush()
        publish_after_commit(db, studio, "episode", made.episode_id)
        return _out(db, made)


def _look(studio: Studio, me: Actor, episode_id: str, body: VisionIn) -> ProposalOut:
    """Begin to ask the model; the proposal is there, running, until it has answered."""
    known = vision.about(studio.settings)
    if not known.configured:
        raise InvalidError(
            "No vision-language model is set up. An administrator sets STUDIO_VISION_URL, STUDIO_VISION_MODEL and, "
            "where it wants one, STUDIO_VISION_KEY."
        )
    with studio.db.transaction(write=False) as db:
        row = find(db, episode_id)
        dataset = db.get(Dataset, row.dataset_id)
        assert dataset is not None
        names = [camera["name"] for camera in row.cameras]
        cameras = body.cameras or names[:1]
        if unknown := [name for name in cameras if name not in names]:
            raise InvalidError(f"Episode {row.number} has no camera {unknown[0]}; it has {', '.join(names)}.")
        file_of(studio, row)
        vocabulary = [str(text) for text in dataset.vocabulary]
    patience = studio.settings.vision_seconds * 2 * (studio.background.waiting / studio.background.threads + 1) + 60
    running = Proposal(
        episode_id=episode_id,
        source=ProposalSource.VISION,
        state=ProposalState.RUNNING,
        settings={"model": known.model, "host": known.host, "frames": body.frames, "cameras": cameras},
        asked_by=me.id,
        asked_by_name=me.name,
    )
    with studio.background.place() as begin:
        shown = _store(studio, running, patience=patience)
        begin(lambda: _ask(studio, shown.id, row, cameras, body.frames, vocabulary))
    return shown


def _ask(
    studio: Studio, proposal_id: str, row: EpisodeRow, cameras: list[str], frames: int, vocabulary: list[str]
) -> None:
    """In a thread of its own: whatever happens is written into the proposal."""
    begun = time.monotonic()
    segments: tuple[ProposalSegment, ...] = ()
    error: str | None = None
    sheets: list[Sheet] = []
    try:
        with open_episode(file_of(studio, row)) as episode:
            sheets = contact_sheets(episode, cameras, even_steps(row.steps, frames))
        question = vision.Question(
            steps=row.steps,
            fps=motion.fps_of(row),
            instruction=row.instruction,
            vocabulary=vocabulary,
            sheets=sheets,
        )
        segments = vision.ask(studio.settings, question)
    except vision.VisionError as failure:
        error = str(failure)
    except (EpisodeError, NotFoundError) as failure:
        error = f"The episode's frames cannot be read: {failure}"
    except Exception as failure:  # a defect of ours: the page must not wait for ever
        error = f"Something went wrong in the studio ({type(failure).__name__}); tell its administrator."
        raise
    finally:
        with studio.db.transaction() as db:
            stored = db.get(Proposal, proposal_id)
            if stored is not None:  # the dataset may have been deleted meanwhile
                stored.state = ProposalState.FAILED if error else ProposalState.READY
                stored.segments, stored.error = segments, error
                stored.report = {"seconds": round(time.monotonic() - begun, 1), "sheets": len(sheets)}
                publish_after_commit(db, studio, "episode", row.id)


def _out(db: Session, proposal: Proposal) -> ProposalOut:
    shown = ProposalOut.model_validate(proposal)
    if proposal.state is not ProposalState.RUNNING or proposal.until is None:
        return shown
    # one begun in time to come was begun before the clock was set back: nobody can say how long ago
    if not proposal.created_at - _READ_BACK <= database_now(db) < proposal.until:
        shown.state, shown.error = ProposalState.FAILED, _LOST
    return shown


# --- verdicts -------------------------------------------------------------------------------------------------


def judge(db: Session, me: Actor, episode_id: str, body: VerdictsIn) -> None:
    """Write down what became of proposals. Raises InvalidError for one that is not of this episode."""
    row = find(db, episode_id)
    own = {one for one in (verdict.proposal_id for verdict in body.verdicts) if one is not None}
    for proposal_id in own:
        stored = db.get(Proposal, proposal_id)
        if stored is None or stored.episode_id != row.id:
            raise InvalidError(f"There is no proposal {proposal_id} for this episode. Reload the page.")
    for index, one in enumerate(body.verdicts):
        if max(one.start + 1, one.end or 0) > row.steps:
            raise InvalidError(f"Verdict {index} reaches beyond the episode's {row.steps} steps. Reload the page.")
        tenth = None if one.confidence is None else min(int(one.confidence * _TENTHS), _TENTHS - 1)
        db.add(
            ProposalVerdict(**one.model_dump(), dataset_id=row.dataset_id, episode_id=row.id, tenth=tenth, by_id=me.id)
        )


def statistics(db: Session, dataset_id: str) -> StatisticsOut:
    """By source and by tenth of the confidence."""
    if db.get(Dataset, dataset_id) is None:
        raise NotFoundError("There is no such dataset; it may have been deleted.")
    counted: dict[ProposalSource, dict[int | None, Counter[Verdict]]] = {}
    for source, verdict, tenth, number in repository.counts(db, dataset_id):
        counted.setdefault(source, {}).setdefault(tenth, Counter())[verdict] += number
    return StatisticsOut(sources=[_statistics(source, counted.get(source, {})) for source in ProposalSource])


def _statistics(source: ProposalSource, tenths: dict[int | None, Counter[Verdict]]) -> SourceStatistics:
    total = sum(tenths.values(), Counter[Verdict]())
    return SourceStatistics(
        source=source,
        **_numbers(total),
        rate=total[Verdict.ACCEPTED] / total.total() if total else None,
        calibration=[
            CalibrationOut(
                low=tenth / _TENTHS,
                high=(tenth + 1) / _TENTHS,
                **_numbers(count),
                likely=(count[Verdict.ACCEPTED] + 1) / (count.total() + 2),
            )
            for tenth, count in sorted(_known(tenths), key=lambda one: one[0])
        ],
    )


def _numbers(count: Counter[Verdict]) -> dict[str, int]:
    return {verdict.value: count[verdict] for verdict in Verdict}


def _known(tenths: dict[int | None, Counter[Verdict]]) -> list[tuple[int, Counter[Verdict]]]:
    return [(tenth, count) for tenth, count in tenths.items() if tenth is not None]
