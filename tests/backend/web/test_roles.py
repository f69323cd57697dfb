"""The least role of every operation of the API, written down: a forgotten or a changed check fails here."""

import pytest
from fastapi.testclient import TestClient

from backend.core.roles import Role
from tests.support.api_examples import call, operations
from tests.support.people import SignIn

pytestmark = pytest.mark.slow

PUBLIC = """
    GET /api/health
    GET /api/auth/me
    POST /api/auth/setup
    POST /api/auth/login
    POST /api/auth/logout
    GET /api/links
    POST /api/links
"""
VIEWER = """
    POST /api/auth/password
    GET /api/auth/tokens
    POST /api/auth/tokens
    DELETE /api/auth/tokens/{token_id}
    GET /api/datasets
    GET /api/datasets/page
    GET /api/datasets/{dataset_id}
    GET /api/datasets/{dataset_id}/episodes
    GET /api/datasets/{dataset_id}/episodes/page
    GET /api/datasets/{dataset_id}/proposal-statistics
    GET /api/datasets/{dataset_id}/survey
    GET /api/datasets/{dataset_id}/versions
    GET /api/datasets/{dataset_id}/exports
    POST /api/datasets/{dataset_id}/exports/preview
    GET /api/datasets/{dataset_id}/edits
    POST /api/datasets/{dataset_id}/edits/preview
    GET /api/datasets/{dataset_id}/exports/{export_id}/archive
    GET /api/exports/destinations
    GET /api/exports/formats
    GET /api/datasets/{dataset_id}/uploads
    OPTIONS /api/datasets/{dataset_id}/uploads/files
    GET /api/uploads/{upload_id}
    GET /api/uploads/files/{file_id}
    GET /api/versions
    GET /api/versions/{version_id}/manifest
    GET /api/episodes/{episode_id}
    GET /api/episodes/{episode_id}/draft
    GET /api/episodes/{episode_id}/candidates
    GET /api/episodes/{episode_id}/draft/check
    GET /api/episodes/{episode_id}/draft/diff
    GET /api/episodes/{episode_id}/draft/history
    GET /api/episodes/{episode_id}/draft/history/{entry_id}
    GET /api/episodes/{episode_id}/labels
    GET /api/datasets/{dataset_id}/agreement
    GET /api/datasets/{dataset_id}/changes
    GET /api/datasets/{dataset_id}/coverage
    GET /api/datasets/{dataset_id}/labelling
    GET /api/datasets/{dataset_id}/labels
    GET /api/datasets/{dataset_id}/segments
    GET /api/datasets/{dataset_id}/vocabulary
    GET /api/work
    GET /api/episodes/{episode_id}/file
    GET /api/episodes/{episode_id}/frames/{camera}/{step}
    GET /api/episodes/{episode_id}/motion
    GET /api/episodes/{episode_id}/pack
    GET /api/episodes/{episode_id}/revisions
    GET /api/episodes/{episode_id}/proposals
    GET /api/episodes/{episode_id}/thumbnail
    GET /api/episodes/{episode_id}/tracks
    GET /api/proposals/sources
    GET /api/jobs
    GET /api/jobs/page
    GET /api/jobs/{job_id}
    GET /api/jobs/{job_id}/log
    GET /api/models
    GET /api/training/form
    GET /api/runs
    GET /api/runs/page
    GET /api/runs/{run_id}
    GET /api/runs/{run_id}/metrics
    GET /api/runs/{run_id}/spec.yaml
    GET /api/checkpoints
    GET /api/checkpoints/page
    GET /api/checkpoints/{checkpoint_id}
    GET /api/checkpoints/{checkpoint_id}/archive
    GET /api/checkpoints/{checkpoint_id}/files/{name}
    GET /api/evaluations
    GET /api/evaluations/page
    GET /api/evaluations/{evaluation_id}
    GET /api/evaluations/{evaluation_id}/files/{name}
    GET /api/robots
    GET /api/robots/{name}/picture/{camera}
    POST /api/robots/{name}/stop
    GET /api/live/demo
    GET /api/live/{robot}/tasks
    GET /api/robots/kinds
    GET /api/audit/{entry_id}/written
    GET /api/me/preferences/{page}
    PUT /api/me/preferences/{page}
"""
ANNOTATOR = """
    PUT /api/episodes/{episode_id}/draft
    POST /api/episodes/{episode_id}/draft/claim
    POST /api/episodes/{episode_id}/draft/heartbeat
    POST /api/episodes/{episode_id}/draft/notes
    POST /api/episodes/{episode_id}/draft/release
    POST /api/episodes/{episode_id}/draft/reopen
    POST /api/episodes/{episode_id}/draft/review
    POST /api/episodes/{episode_id}/draft/submit
    PATCH /api/notes/{note_id}
    DELETE /api/notes/{note_id}
    POST /api/datasets/{dataset_id}/work/next
    POST /api/episodes/{episode_id}/publish
    POST /api/episodes/{episode_id}/proposals
    POST /api/episodes/{episode_id}/proposals/verdicts
"""
OPERATOR = """
    POST /api/datasets
    POST /api/datasets/demo
    PATCH /api/datasets/{dataset_id}
    DELETE /api/datasets/{dataset_id}
    POST /api/datasets/{dataset_id}/episodes
    POST /api/datasets/{dataset_id}/import
    POST /api/datasets/{dataset_id}/uploads
    POST /api/datasets/{dataset_id}/uploads/files
    DELETE /api/uploads/{upload_id}
    POST /api/uploads/{upload_id}/episodes
    POST /api/uploads/{upload_id}/import
    POST /api/uploads/{upload_id}/import/preview
    PUT /api/uploads/files/{file_id}/sha256
    HEAD /api/uploads/files/{file_id}
    PATCH /api/uploads/files/{file_id}
    DELETE /api/uploads/files/{file_id}
    POST /api/datasets/{dataset_id}/survey
    POST /api/datasets/{dataset_id}/exports
    POST /api/datasets/{dataset_id}/edits
    POST /api/datasets/{dataset_id}/facts
    POST /api/datasets/{dataset_id}/edits/{edit_id}/undo
    DELETE /api/datasets/{dataset_id}/exports/{export_id}
    POST /api/datasets/{dataset_id}/versions
    DELETE /api/episodes/{episode_id}
    POST /api/episodes/{episode_id}/rollback
    PATCH /api/datasets/{dataset_id}/labelling
    PUT /api/datasets/{dataset_id}/vocabulary
    POST /api/datasets/{dataset_id}/vocabulary/rename
    POST /api/datasets/{dataset_id}/vocabulary/rename/preview
    POST /api/datasets/{dataset_id}/template
    POST /api/datasets/{dataset_id}/changes/{change_id}/undo
    POST /api/datasets/{dataset_id}/work/assign
    POST /api/datasets/{dataset_id}/labels
    GET /api/annotators
    GET /api/datasets/{dataset_id}/imported-labels
    POST /api/datasets/{dataset_id}/imported-labels/accept
    GET /api/import/candidates
    POST /api/import/preview
    GET /api/import/profiles
    POST /api/import/profiles
    PATCH /api/import/profiles/{profile_id}
    DELETE /api/import/profiles/{profile_id}
    GET /api/import/profiles/{profile_id}/file
    POST /api/import/read/profile
    POST /api/import/read/instructions
    POST /api/jobs/{job_id}/cancel
    POST /api/jobs/{job_id}/resume
    GET /api/models/candidates
    POST /api/models
    POST /api/models/tiny
    DELETE /api/models/{model_id}
    POST /api/training/check
    POST /api/training/preflight
    POST /api/runs
    DELETE /api/runs/{run_id}
    DELETE /api/checkpoints/{checkpoint_id}
    POST /api/evaluations
    DELETE /api/evaluations/{evaluation_id}
    POST /api/robots/{name}/arm
    GET /api/live/policy-servers
    POST /api/live/{robot}/prepare
    POST /api/live/{robot}/rollout
    POST /api/live/{robot}/pause
    POST /api/live/{robot}/resume
    POST /api/live/{robot}/end
    POST /api/live/{robot}/instruction
    POST /api/live/{robot}/scene
    POST /api/live/{robot}/record
    POST /api/live/{robot}/mark
    POST /api/live/{robot}/save
    POST /api/live/{robot}/discard
"""
ADMIN = """
    GET /api/annotators/figures
    GET /api/audit
    GET /api/audit/page
    GET /api/users
    PATCH /api/users/{user_id}
    POST /api/users/{user_id}/reset
    GET /api/invitations
    GET /api/resets
    DELETE /api/resets/{reset_id}
    POST /api/invitations
    DELETE /api/invitations/{invitation_id}
    GET /api/settings
    PATCH /api/settings
    GET /api/storage
    POST /api/storage/adopt
    POST /api/storage/lose
"""
TABLE = {
    line.strip(): role
    for lines, role in (
        (PUBLIC, None),
        (VIEWER, Role.VIEWER),
        (ANNOTATOR, Role.ANNOTATOR),
        (OPERATOR, Role.OPERATOR),
        (ADMIN, Role.ADMIN),
    )
    for line in lines.strip().splitlines()
}
CHANGING = {"post", "put", "patch"}


def test_the_table_names_every_operation(anonymous: TestClient) -> None:
    assert set(operations(anonymous.get("/api/openapi.json").json())) == set(TABLE)


def test_every_operation_asks_for_its_role(anonymous: TestClient, client: SignIn) -> None:
    """Too low a role is refused; the least role gets further (mostly to 404: nothing of what is named exists)."""
    client(Role.ADMIN)
    schema = anonymous.get("/api/openapi.json").json()
    wrong = []
    for name in operations(schema):
        needed = TABLE[name]
        if needed is None:
            continue
        callers: list[tuple[Role | None, TestClient]] = [(None, anonymous), *((role, client(role)) for role in Role)]
        for role, browser in callers:
            if name == "POST /api/auth/password" and role is not None:
                continue  # its own refusal of a wrong password is a 403 too
            status = call(browser, schema, name).status_code
            if role is None:
                right = status == 401
            elif not role.allows(needed):
                right = status == 403
            else:
                right = status not in {401, 403, 500}
            if not right:
                wrong.append(f"{name} as {role or 'a stranger'}: {status}")
    assert not wrong, "\n".join(wrong)
