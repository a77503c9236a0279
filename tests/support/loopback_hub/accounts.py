"""Who a token belongs to, and the repositories that there are."""

import hashlib
import json
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import yaml

from tests.support.loopback_hub.access import can_write, find_repo
from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.routes import API, Routes
from tests.support.loopback_hub.storage import Answer, HubError, validate_card

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

routes = Routes()


@routes.add("GET", "/api/whoami-v2")
def whoami(hub: "LoopbackHub", request: Request) -> Answer:
    if not (token := request.token):
        raise HubError(401, "Invalid username or password.")
    access: dict[str, Any] = {"displayName": "loopback", "role": token.role}
    if token.role == "fine":
        scopes = [{"entity": {"type": "dataset", "name": r}, "permissions": ["repo.write"]} for r in token.repos]
        access |= {"role": "fineGrained", "fineGrained": {"canReadGatedRepos": False, "scoped": scopes}}
    orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in hub.organizations[token.user]]
    auth = {"type": "access_token", "accessToken": access}
    return Answer({"type": "user", "id": token.user, "name": token.user, "orgs": orgs, "auth": auth})


@routes.add("POST", "/oauth/device")
def begin_login(hub: "LoopbackHub", request: Request) -> Answer:
    page = f"{hub.url}/oauth/device"
    codes = {"device_code": "device-code-of-me", "user_code": "ABCD-EFGH"}
    return Answer({**codes, "verification_uri": page, "interval": 1, "expires_in": 60})


@routes.add("POST", "/oauth/token")
def end_login(hub: "LoopbackHub", request: Request) -> Answer:
    if parse_qs(request.body.decode()).get("device_code") != ["device-code-of-me"]:
        return Answer({"error": "invalid_grant"}, 400)
    if hub.waiting_logins:
        hub.waiting_logins -= 1
        return Answer({"error": "authorization_pending"}, 400)
    return Answer({"access_token": hub.write_token, "token_type": "bearer"})


@routes.add("POST", "/api/validate-yaml")
def validate_yaml(hub: "LoopbackHub", request: Request) -> Answer:
    errors, hints = validate_card(request.json()["content"])
    body = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in hints]}
    return Answer(body, 400 if errors else 200)


@routes.add("POST", "/api/repos/create")
def create_repo(hub: "LoopbackHub", request: Request) -> Answer:
    repo_id, body = read_repo_id(hub, request), request.json()
    if repo_id in hub.repos:
        url = f"{hub.url}/datasets/{repo_id}"
        raise HubError(409, "conflict", error="You already created this dataset repo", url=url)
    hub.create_repo(repo_id, body.get("visibility") == "private" or body.get("private") is True)
    return Answer({"url": f"{hub.url}/datasets/{repo_id}", "name": repo_id, "id": uuid.uuid4().hex})


@routes.add("DELETE", "/api/repos/delete")
def delete_repo(hub: "LoopbackHub", request: Request) -> Answer:
    repo_id = read_repo_id(hub, request)
    find_repo(hub, request, repo_id, "write")
    del hub.repos[repo_id]
    return Answer({})


def read_repo_id(hub: "LoopbackHub", request: Request) -> str:
    body = request.json()
    if not (token := request.token):
        raise HubError(401, "Invalid username or password.")
    if body.get("type") != "dataset":
        raise HubError(400, "This hub holds datasets only.")
    repo_id = f"{body.get('organization') or token.user}/{body['name']}"
    if not re.fullmatch(r"[\w.-]{1,96}", body["name"]) or re.search(r"--|\.\.|\.git$", body["name"]):
        raise HubError(400, f"Invalid repository name: {body['name']}")
    if not can_write(hub, token, repo_id):
        raise HubError(403, f"You don't have the rights to create a dataset under this namespace: {repo_id}")
    return repo_id


@routes.add("PUT", API + "/settings")
def change_settings(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    find_repo(hub, request, repo, "write").private = request.json().get("visibility") == "private"
    return Answer({})


@routes.add("GET", API + "/auth-check")
def check_access(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    find_repo(hub, request, repo)
    return Answer({})


@routes.add("GET", API)
@routes.add("GET", API + "/revision/{revision}")
def describe(hub: "LoopbackHub", request: Request, repo: str, revision: str = "main") -> Answer:
    found = find_repo(hub, request, repo)
    commit = found.find_commit(revision)
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
    if "blobs" in request.query:
        for sibling in siblings:
            file = commit.files[sibling["rfilename"]]
            sibling |= {"size": file.size, "blobId": file.oid}
            if file.lfs:
                sibling["lfs"] = {"sha256": file.lfs, "size": file.size, "pointerSize": file.pointer_size}
    card = None
    if readme := commit.files.get("README.md"):
        text = found.read(readme).decode(errors="replace")
        if not any(validate_card(text)):
            card = json.loads(json.dumps(yaml.safe_load(text.split("---", 2)[1]), default=str))
    return Answer(
        {
            "_id": hashlib.sha1(repo.encode()).hexdigest()[:24],
            "id": repo,
            "author": repo.split("/")[0],
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": found.created,
            "private": found.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
            "cardData": card,
        }
    )
