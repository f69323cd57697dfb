"""/api/datasets/{id}/labelling, vocabulary, work, segments, coverage, labels; /api/work, /api/annotators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.access.dependencies import Admin, Annotator, Db, Operator, Parts, Viewer
from backend.core.schemas import Page
from backend.labels.core.findings import FindingCode
from backend.labels.core.settings import Labelling
from backend.labels.dataset import accepting, assignment, changes, exchange, facts, figures, search, service, templates
from backend.labels.dataset.accepting_schemas import AcceptImportedIn, ImportedLabelsOut
from backend.labels.dataset.schemas import (
    AgreementOut,
    ApplyTemplateIn,
    AssignIn,
    AssignOut,
    ChangeOut,
    ChangeResult,
    CoverageOut,
    FactsIn,
    ImportLabelsIn,
    LabelFormat,
    LabellingPatch,
    NextIn,
    PersonFigures,
    PersonOut,
    Queue,
    RenameIn,
    RenamePreview,
    SegmentFound,
    VocabularyIn,
    VocabularyOut,
    WorkOut,
)
from backend.tables.document import Tier
from backend.tables.draft import WorkState
from backend.tables.segment import Provenance

router = APIRouter(prefix="/api", tags=["labelling"])
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=500)]
Id = Annotated[str | None, Query(max_length=32)]
Steps = Annotated[int | None, Query(ge=0, le=2**31 - 1)]


@router.get("/datasets/{dataset_id}/labelling")
def get_labelling(db: Db, me: Viewer, dataset_id: str) -> Labelling:
    return service.labelling(db, dataset_id)


@router.patch("/datasets/{dataset_id}/labelling")
def change_labelling(db: Db, me: Operator, studio: Parts, dataset_id: str, body: LabellingPatch) -> Labelling:
    return service.change_labelling(db, me, studio, dataset_id, body)


# --- vocabulary -----------------------------------------------------------------------------------------------


@router.get("/datasets/{dataset_id}/vocabulary")
def get_vocabulary(db: Db, me: Viewer, dataset_id: str, tier: Tier = Tier.SUBSTEP) -> VocabularyOut:
    """The entries in their order, with what they mean and example frames: the guideline."""
    return service.vocabulary(db, dataset_id, tier)


@router.put("/datasets/{dataset_id}/vocabulary")
def change_vocabulary(db: Db, me: Operator, studio: Parts, dataset_id: str, body: VocabularyIn) -> VocabularyOut:
    return service.change_vocabulary(db, me, studio, dataset_id, body)


@router.post("/datasets/{dataset_id}/vocabulary/rename/preview")
def preview_rename(db: Db, me: Operator, dataset_id: str, body: RenameIn) -> RenamePreview:
    return changes.preview_rename(db, dataset_id, body)


@router.post("/datasets/{dataset_id}/vocabulary/rename")
def rename_entry(db: Db, me: Operator, studio: Parts, dataset_id: str, body: RenameIn) -> ChangeResult:
    """Everywhere: drafts get a new edit, published labels a new revision; the answer's `change` can be undone."""
    return changes.rename(db, me, studio, dataset_id, body)


@router.post("/datasets/{dataset_id}/template")
def apply_template(me: Operator, studio: Parts, dataset_id: str, body: ApplyTemplateIn) -> ChangeResult:
    return templates.apply_template(studio, me, dataset_id, body)


@router.post("/datasets/{dataset_id}/facts")
def change_facts(db: Db, me: Operator, studio: Parts, dataset_id: str, body: FactsIn) -> ChangeResult:
    """Instruction or outcome of many episodes, as one change that can be undone; published labels get revisions."""
    return facts.set_facts(db, me, studio, dataset_id, body)


@router.get("/datasets/{dataset_id}/changes")
def list_changes(db: Db, me: Viewer, dataset_id: str) -> list[ChangeOut]:
    return changes.changes(db, dataset_id)


@router.post("/datasets/{dataset_id}/changes/{change_id}/undo")
def undo_change(db: Db, me: Operator, studio: Parts, dataset_id: str, change_id: str) -> ChangeResult:
    return changes.undo(db, me, studio, dataset_id, change_id)


# --- work -----------------------------------------------------------------------------------------------------


@router.get("/annotators")
def list_annotators(db: Db, me: Operator) -> list[PersonOut]:
    """People who may label."""
    return service.people(db)


@router.get("/work")
def list_work(
    db: Db,
    me: Viewer,
    queue: Queue = Queue.MINE,
    dataset_id: Id = None,
    tier: Tier = Tier.SUBSTEP,
    state: WorkState | None = None,
    assignee: Id = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Page[WorkOut]:
    return assignment.queue(
        db,
        me,
        which=queue,
        dataset_id=dataset_id,
        tier=tier,
        state=state,
        assignee=assignee,
        offset=offset,
        limit=limit,
    )


@router.post("/datasets/{dataset_id}/work/next")
def next_work(db: Db, me: Annotator, studio: Parts, dataset_id: str, body: NextIn) -> list[WorkOut]:
    """What I have open here, filled up to `count`."""
    return assignment.next_for(db, me, studio, dataset_id, body)


@router.post("/datasets/{dataset_id}/work/assign")
def assign_work(db: Db, me: Operator, studio: Parts, dataset_id: str, body: AssignIn) -> AssignOut:
    return assignment.assign(db, me, studio, dataset_id, body)


# --- looking --------------------------------------------------------------------------------------------------


@router.get("/datasets/{dataset_id}/segments")
def find_segments(
    db: Db,
    me: Viewer,
    dataset_id: str,
    tier: Tier = Tier.SUBSTEP,
    text: Annotated[str | None, Query(max_length=400)] = None,
    exact: bool = False,
    min_steps: Steps = None,
    max_steps: Steps = None,
    annotator: Id = None,
    provenance: Provenance | None = None,
    state: WorkState | None = None,
    warning: FindingCode | None = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Page[SegmentFound]:
    query = search.SegmentQuery(
        text=text,
        exact=exact,
        min_steps=min_steps,
        max_steps=max_steps,
        annotator=annotator,
        provenance=provenance,
        state=state,
        warning=warning,
    )
    return search.find(db, me, dataset_id, tier, query, offset=offset, limit=limit)


@router.get("/datasets/{dataset_id}/coverage")
def get_coverage(db: Db, me: Viewer, dataset_id: str) -> CoverageOut:
    return figures.coverage(db, me, dataset_id)


@router.get("/datasets/{dataset_id}/agreement")
def get_agreement(db: Db, me: Viewer, dataset_id: str, tier: Tier = Tier.SUBSTEP) -> AgreementOut:
    return figures.agreement(db, me, dataset_id, tier)


@router.get("/annotators/figures")
def get_figures(
    db: Db, me: Admin, dataset_id: Id = None, days: Annotated[int | None, Query(ge=1, le=3650)] = None
) -> list[PersonFigures]:
    """Throughput and agreement of each person; days: how far back."""
    return figures.people(db, me, dataset_id=dataset_id, days=days)


# --- labels alone ---------------------------------------------------------------------------------------------


@router.get("/datasets/{dataset_id}/labels", response_class=Response)
def export_labels(
    me: Viewer,
    studio: Parts,
    dataset_id: str,
    format: LabelFormat = "json",
    tier: Tier = Tier.SUBSTEP,
    drafts: bool = False,
) -> Response:
    """A file: JSON, CSV with steps and seconds, or ELAN's tab-delimited text. drafts: instead of what is published."""
    return exchange.export_dataset(studio, me, dataset_id, tier, format, drafts=drafts)


@router.get("/episodes/{episode_id}/labels", response_class=Response)
def export_episode_labels(
    db: Db,
    me: Viewer,
    episode_id: str,
    format: LabelFormat = "json",
    tier: Tier = Tier.SUBSTEP,
    drafts: bool = False,
) -> Response:
    return exchange.export_episode(db, me, episode_id, tier, format, drafts=drafts)


@router.post("/datasets/{dataset_id}/labels", max_body_size=64 * 2**20)
def import_labels(db: Db, me: Operator, studio: Parts, dataset_id: str, body: ImportLabelsIn) -> ChangeResult:
    return exchange.import_labels(db, me, studio, dataset_id, body)


# --- labels that files brought ----------------------------------------------------------------------------------


@router.get("/datasets/{dataset_id}/imported-labels")
def get_imported_labels(db: Db, me: Operator, dataset_id: str) -> ImportedLabelsOut:
    """Episodes whose files brought labels that nobody touched yet, with a sample to look through."""
    return accepting.imported(db, me, dataset_id)


@router.post("/datasets/{dataset_id}/imported-labels/accept")
def accept_imported_labels(
    db: Db, me: Operator, studio: Parts, dataset_id: str, body: AcceptImportedIn
) -> ChangeResult:
    """Publish them all at once, by somebody who looked at some; the answer's `change` can be undone."""
    return accepting.accept(db, me, studio, dataset_id, body)
