"""The local Hub, with what a client asks of it to make a repository and commit files to it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import unquote

from hub_server import COMMIT, Handler, LocalHub, serving


class UploadHub(LocalHub):
    """A local Hub whose repositories can be written to with a token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self.repositories: dict[str, bool] = {}
        self.commits: list[dict[str, Any]] = []
        self.objects: dict[str, bytes] = {}


class _Uploads(Handler):
    hub: UploadHub

    def do_GET(self) -> None:
        found = re.fullmatch(
            r"/api/models/(?P<name>[^/]+/[^/?]+)(/(?P<kind>revision|tree)/(?P<revision>[^/?]*))?(\?.*)?",
            self.path,
        )
        if found is None:
            self._answer(body=True)
            return
        is_private = self.hub.repositories.get(found["name"])
        if is_private is None or (is_private and not self._has_token()):
            self._refuse(401, "RepoNotFound")
            return
        prefix = f"/{found['name']}/resolve/{found['revision'] or 'main'}/"
        names = [unquote(path.removeprefix(prefix)) for path in self.hub.files if path.startswith(prefix)]
        if not names:
            self._refuse(404, "RevisionNotFound")
        elif found["kind"] == "tree":
            self._json([{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names])
        else:
            siblings = [{"rfilename": name} for name in names]
            self._json(
                {"id": found["name"], "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
            )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif not self._has_token():
            self._json({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", self.path):
            files = json.loads(body)["files"]
            modes = [
                {"path": file["path"], "shouldIgnore": False, "uploadMode": self._mode(file["path"])}
                for file in files
            ]
            self._json({"files": modes})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.path):
            self._offer(json.loads(body))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/?]+)(\?.*)?", self.path):
            self._commit(found[1], found[2], [json.loads(line) for line in body.decode().splitlines()])
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/branch/[^/]+", self.path):
            self._json({})
        else:
            self._json({"error": f"unknown path {self.path}"}, 404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        object_id = self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != object_id:
            self._json({"error": "wrong content"}, 400)
            return
        self.hub.objects[object_id] = content
        self._json({})

    def _create(self, wanted: dict[str, Any]) -> None:
        repository = (
            f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        )
        exists = repository in self.hub.repositories
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.repositories.setdefault(repository, bool(private))
        self._json({"url": f"{self.hub.url}/{repository}"}, 409 if exists else 200)

    @staticmethod
    def _mode(path: str) -> str:
        return "lfs" if path.endswith(".safetensors") else "regular"

    def _offer(self, wanted: dict[str, Any]) -> None:
        """Where to put large files: here."""
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/objects/{one['oid']}"}}}
            for one in wanted["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _commit(self, repository: str, branch: str, lines: list[dict[str, Any]]) -> None:
        commit = {"repository": repository, "branch": branch, "message": "", "files": {}}
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                commit["message"] = value["summary"]
            elif line["key"] == "file":
                commit["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                commit["files"][value["path"]] = self.hub.objects[value["oid"]]
        self.hub.commits.append(commit)
        for name, content in commit["files"].items():
            token = self.hub.token if self.hub.repositories[repository] else None
            for revision in (branch, COMMIT):
                self.hub.put_hub_file(repository, name, content, revision, token=token)
        self._json(
            {
                "commitUrl": f"{self.hub.url}/{repository}/commit/{COMMIT}",
                "commitOid": COMMIT,
                "success": True,
            }
        )

    def _json(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def upload_hub(token: str) -> AbstractContextManager[UploadHub]:
    """Run the server on a free port."""
    return serving(UploadHub(token), _Uploads)
