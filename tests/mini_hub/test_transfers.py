"""Uploads and downloads, whole and interrupted, through LFS and through xet."""

import hashlib
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from tests.mini_hub import MiniHub

XET = os.environ.get("HFSEQ_TEST_XET") == "1"
lfs_only = pytest.mark.skipif(XET, reason="the way of plain LFS")
xet_only = pytest.mark.skipif(not XET, reason="the way of xet; set HFSEQ_TEST_XET=1")


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two large files and a small one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.joinpath("config.json").write_text("{}", encoding="utf-8")
    for name in ("one.safetensors", "two.safetensors"):
        folder.joinpath(name).write_bytes(os.urandom(300_000))
    return folder


@pytest.fixture
def pushed(hub, api, repo, folder) -> str:
    """Id of a repository that holds the folder; the log starts after the push."""
    api.upload_folder(repo_id=repo, folder_path=folder)
    hub.log.clear()
    return repo


def test_a_pushed_folder_comes_back_byte_by_byte(hub, pushed, folder):
    snapshot = Path(snapshot_download(pushed))
    for file in folder.iterdir():
        assert snapshot.joinpath(file.name).read_bytes() == file.read_bytes()


def test_download_metadata_name_commit_hash_and_size(hub, api, pushed, folder):
    metadata = get_hf_file_metadata(hf_hub_url(pushed, "one.safetensors"))
    assert metadata.etag == sha256(folder / "one.safetensors")
    assert metadata.commit_hash == api.model_info(pushed).sha
    assert metadata.size == 300_000
    assert (metadata.xet_file_data is not None) == XET


def test_a_cached_file_at_a_full_commit_id_needs_no_request(hub, api, pushed):
    revision = api.model_info(pushed).sha
    first = hf_hub_download(pushed, "config.json", revision=revision)
    hub.log.clear()
    assert hf_hub_download(pushed, "config.json", revision=revision) == first
    assert hub.log == []


def test_the_cache_serves_offline_what_it_has_and_asks_nobody(hub, pushed, run_python):
    snapshot = snapshot_download(pushed, allow_patterns="config.json")
    hub.log.clear()
    result = run_python(
        f"""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError
        print(hf_hub_download({pushed!r}, "config.json"))
        try:
            hf_hub_download({pushed!r}, "one.safetensors")
        except LocalEntryNotFoundError:
            print("not cached")
        """,
        HF_HUB_OFFLINE="1",
    )
    assert result.stdout.splitlines() == [f"{snapshot}/config.json", "not cached"], result.stderr
    assert hub.log == []


def test_a_transient_error_is_retried(hub, api, repo, folder, no_backoff):
    hub.fault("POST", "/preupload/", times=2, status=503)
    api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns="config.json")
    assert [request["status"] for request in hub.requests("POST", "/preupload/")] == [503, 503, 200]


def test_a_fault_strikes_as_often_as_it_was_told(hub, api, repo):
    hub.fault("GET", f"/api/models/{repo}", times=1, status=418)
    with pytest.raises(HfHubHTTPError) as error:
        api.model_info(repo)
    assert error.value.response.status_code == 418
    assert api.model_info(repo).id == repo


@lfs_only
def test_the_token_is_never_shown_to_the_storage_origin(hub, api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    snapshot_download(repo)
    requests = hub.requests(origin="cdn")
    assert {request["method"] for request in requests} == {"GET", "PUT"}
    assert not any("Authorization" in request["headers"] for request in requests)


@lfs_only
def test_the_storage_origin_refuses_a_token_and_a_bad_signature(hub, pushed, folder):
    url = f"{hub.cdn_url}/get/{sha256(folder / 'one.safetensors')}?signature=forged"
    assert get_session().get(url).status_code == 403
    assert get_session().get(url, headers={"Authorization": "Bearer hf_write"}).status_code == 400


@lfs_only
def test_content_that_the_hub_has_is_not_uploaded_again(hub, api, repo, folder, repo_id):
    api.upload_folder(repo_id=repo, folder_path=folder)
    assert len(hub.requests("PUT", "/put/")) == 2
    hub.log.clear()
    twin = api.create_repo(repo_id + "-twin").repo_id
    api.upload_folder(repo_id=twin, folder_path=folder)
    assert not hub.requests("PUT") and len(hub.requests("POST", "/commit/")) == 1
    assert sha256(hf_hub_download(twin, "one.safetensors")) == sha256(folder / "one.safetensors")


@lfs_only
def test_a_large_file_is_uploaded_in_parts(hub, api, repo, folder, monkeypatch):
    monkeypatch.setattr(hub, "multipart_chunk", 100_001)
    api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns="one.safetensors")
    assert len(hub.requests("PUT", "part=")) == 3 and len(hub.requests("POST", "/complete/")) == 1
    assert sha256(hf_hub_download(repo, "one.safetensors")) == sha256(folder / "one.safetensors")


@lfs_only
def test_an_upload_that_breaks_off_is_repeated(hub, api, repo, folder, no_backoff):
    # More than the sockets can buffer, else the client has sent it all before it sees the connection drop.
    folder.joinpath("one.safetensors").write_bytes(os.urandom(6_000_000))
    hub.fault("PUT", "/put/", cut=1000)
    api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns="one.safetensors")
    assert [request["status"] for request in hub.requests("PUT")] == [0, 200]


@lfs_only
def test_after_a_failed_push_only_the_missing_files_are_sent(hub, api, repo, folder):
    missing = sha256(folder / "two.safetensors")
    hub.fault("PUT", missing, status=403)
    with pytest.raises(RuntimeError, match="Error while uploading 'two.safetensors'"):
        api.upload_folder(repo_id=repo, folder_path=folder)
    assert api.list_repo_files(repo) == [".gitattributes"]
    hub.log.clear()
    api.upload_folder(repo_id=repo, folder_path=folder)
    assert [request["path"] for request in hub.requests("PUT")] == [f"/put/{missing}"]


@lfs_only
def test_a_download_that_breaks_off_is_resumed(hub, pushed, folder, monkeypatch, no_backoff):
    # The client writes, and so resumes, in steps of this size; 10 MiB outside of tests.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    hub.fault("GET", "/get/", cut=100_000)
    assert sha256(hf_hub_download(pushed, "one.safetensors")) == sha256(folder / "one.safetensors")
    first, second = hub.requests("GET", "/get/")
    assert (second["headers"]["Range"], second["status"]) == ("bytes=100000-", 206)


@lfs_only
def test_a_flipped_bit_passes_the_download_but_not_the_checksums(hub, api, pushed, folder):
    hub.fault("GET", "/get/", corrupt=True)
    downloaded = hf_hub_download(pushed, "one.safetensors")
    assert sha256(downloaded) != sha256(folder / "one.safetensors")
    (mismatch,) = api.verify_repo_checksums(pushed).mismatches
    assert mismatch["path"] == "one.safetensors"


@lfs_only
def test_a_client_that_dies_in_the_middle_of_a_commit_changes_nothing(hub, api, repo):
    before = api.model_info(repo).sha
    body = b'{"key": "header", "value": {"summary": "half"}}\n'
    head = f"POST /api/models/{repo}/commit/main HTTP/1.1\r\nAuthorization: Bearer hf_write\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(hub.url).port)) as connection:
        connection.sendall(head.encode() + b"Content-Length: 999\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert api.model_info(repo).sha == before


@xet_only
def test_large_files_go_through_the_chunk_store(hub, api, repo, folder, tmp_path):
    api.upload_folder(repo_id=repo, folder_path=folder)
    assert hub.requests("GET", "/xet-write-token/") and not hub.requests("PUT")
    hub.log.clear()
    assert sha256(hf_hub_download(repo, "two.safetensors")) == sha256(folder / "two.safetensors")
    assert hub.requests("GET", "/xet-read-token/") and not hub.requests(origin="cdn")


@xet_only
def test_a_client_without_xet_reads_what_xet_stored(hub, pushed, folder, run_python, tmp_path):
    result = run_python(
        f"from huggingface_hub import hf_hub_download; print(hf_hub_download({pushed!r}, 'one.safetensors'))",
        HF_HUB_DISABLE_XET="1",
        HF_HOME=str(tmp_path / "home"),
    )
    assert sha256(result.stdout.strip()) == sha256(folder / "one.safetensors"), result.stderr
    assert hub.requests("GET", "/get/", origin="cdn")


@xet_only
def test_a_push_that_is_refused_at_the_end_can_be_repeated(hub, api, repo, folder):
    hub.fault("POST", "/commit/", status=403)
    with pytest.raises(HfHubHTTPError):
        api.upload_folder(repo_id=repo, folder_path=folder)
    assert api.list_repo_files(repo) == [".gitattributes"]
    api.upload_folder(repo_id=repo, folder_path=folder)
    assert "one.safetensors" in api.list_repo_files(repo)


def test_a_closed_hub_answers_nobody_and_leaves_no_folder():
    own_hub = MiniHub(xet=True)
    folder = own_hub.xet.folder
    assert folder.is_dir()
    own_hub.close()
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(own_hub.url.rsplit(":", 1)[1])))
