"""Proposals for who labels: /api/episodes/{id}/tracks, /candidates, /proposals, and what became of them."""

from fastapi import APIRouter, Request, Response

from backend.access.dependencies import Annotator, Db, Parts, Viewer
from backend.episodes.service import find
from backend.labels.proposals import motion, service
from backend.labels.proposals.schemas import (
    CandidatesOut,
    ProposalIn,
    ProposalOut,
    SourcesOut,
    StatisticsOut,
    TracksOut,
    VerdictsIn,
)

router = APIRouter(prefix="/api", tags=["proposals"])


@router.get("/proposals/sources")
def get_proposal_sources(me: Viewer, studio: Parts) -> SourcesOut:
    """Which sources of proposals are set up."""
    return service.sources(studio)


@router.get("/episodes/{episode_id}/tracks", response_model=TracksOut)
def get_tracks(db: Db, me: Viewer, studio: Parts, request: Request, episode_id: str) -> Response:
    """Grippers and speeds, to be drawn under the frames."""
    row = find(db, episode_id)
    tag = motion.tracks_tag(row)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(motion.tracks(studio, row), media_type="application/json", headers=headers)


@router.get("/episodes/{episode_id}/candidates")
def get_candidates(db: Db, me: Viewer, studio: Parts, episode_id: str) -> CandidatesOut:
    """Where one substep may end and the next begin: marks of who drove, and what the motion shows."""
    return service.candidates(db, studio, episode_id)


@router.get("/episodes/{episode_id}/proposals")
def list_proposals(db: Db, me: Viewer, studio: Parts, episode_id: str) -> list[ProposalOut]:
    """Proposed labellings: the newest of each source. They are no labels until somebody takes them into a draft."""
    return service.proposals(db, studio, episode_id)


@router.post("/episodes/{episode_id}/proposals", status_code=201)
def make_proposal(me: Annotator, studio: Parts, episode_id: str, body: ProposalIn) -> ProposalOut:
    """Make a proposal. One of a vision-language model is running at first; an event of the episode tells its end."""
    return service.propose(studio, me, episode_id, body)


@router.post("/episodes/{episode_id}/proposals/verdicts", status_code=204)
def judge_proposals(db: Db, me: Annotator, episode_id: str, body: VerdictsIn) -> None:
    """What became of proposals, for the statistics."""
    service.judge(db, me, episode_id, body)


@router.get("/datasets/{dataset_id}/proposal-statistics")
def get_proposal_statistics(db: Db, me: Viewer, dataset_id: str) -> StatisticsOut:
    """How often proposals of each source are accepted, edited and rejected, and how that goes with their confidence."""
    return service.statistics(db, dataset_id)
