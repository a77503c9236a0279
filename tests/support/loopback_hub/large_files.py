"""Large files on their way to LFS or Xet."""

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from tests.support.loopback_hub.access import find_repo, what_is_needed
from tests.support.loopback_hub.request import Request
from tests.support.loopback_hub.routes import API, Routes
from tests.support.loopback_hub.storage import Answer, HubError

if TYPE_CHECKING:
    from tests.support.loopback_hub.hub import LoopbackHub

routes = Routes()


@routes.add("POST", r"/datasets/{repo}\.git/info/lfs/objects/batch")
def batch(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    found = find_repo(hub, request, repo, "propose")
    objects = []
    for item in request.json()["objects"]:
        entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
        if not re.fullmatch("[0-9a-f]{64}", item["oid"]):
            entry["error"] = {"code": 422, "message": "Invalid oid"}
        elif item["oid"] not in found.objects:
            upload = f"{hub.url}/lfs/{repo}/{item['oid']}?size={item['size']}"
            verify = f"{hub.url}/datasets/{repo}.git/info/lfs/objects/verify"
            entry["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
        objects.append(entry)
    media_type = {"Content-Type": "application/vnd.git-lfs+json"}
    return Answer({"transfer": "basic", "objects": objects}, headers=media_type)


@routes.add("PUT", "/lfs/{repo}/{sha256}")
def put(hub: "LoopbackHub", request: Request, repo: str, sha256: str) -> Answer:
    if request.token:
        raise HubError(400, "Only one auth mechanism allowed: the address is signed already.")
    hub.puts[sha256].append(len(request.body))
    if hashlib.sha256(request.body).hexdigest() != sha256 or len(request.body) != int(request.query["size"]):
        raise HubError(400, "The provided sha256 or size does not match what was computed.")
    hub.repos[repo].objects[sha256] = request.body
    return Answer(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


@routes.add("POST", r"/datasets/{repo}\.git/info/lfs/objects/verify")
def verify(hub: "LoopbackHub", request: Request, repo: str) -> Answer:
    found, body = find_repo(hub, request, repo, "propose"), request.json()
    if body["oid"] not in found.objects or len(found.objects[body["oid"]]) != body["size"]:
        raise HubError(404, "The object was not uploaded.")
    return Answer({})


@routes.add("GET", API + "/xet-{kind}-token/{revision}")
def give_xet_token(hub: "LoopbackHub", request: Request, repo: str, kind: str, revision: str) -> Answer:
    found = find_repo(hub, request, repo, "read" if kind == "read" else what_is_needed(request, revision))
    if "create_pr" not in request.query:
        found.find_commit(revision)
    token, expiry = f"xet-{kind}", int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": hub.xet.url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expiry)}
    return Answer({"casUrl": hub.xet.url, "accessToken": token, "exp": expiry}, headers=headers)
