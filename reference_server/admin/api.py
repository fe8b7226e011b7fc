"""The HTTP administration contract over `Operations`: routes, error answers, OpenAPI. No decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from reference_server import __version__
from reference_server.addresses import address_text
from reference_server.admin import records
from reference_server.admin.operations import Conflict, NotFound, Operations
from reference_server.settings import InvalidField, IpRange

BASE = "/api/v1"
_CHUNK = 50
"""IP ranges turned into text at a time: some 2 ms."""
_ERROR_LENGTH = 500
_MEANINGS = {
    400: "A field is wrong; the answer names it, and nothing was stored",
    401: "The administrator's name and password are needed (HTTP Basic)",
    404: "There is no such record",
    409: "The record would be a duplicate, or is in use",
}


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the error answers of a route."""
    return {code: {"model": records.ErrorAnswer, "description": _MEANINGS[code]} for code in sorted(codes)}


READ = _answers(401)
READ_ONE = _answers(401, 404)
ADD = _answers(400, 401, 409)
CHANGE = _answers(400, 401, 404, 409)


async def _operations(request: Request) -> Operations:
    operations = request.app.state.operations
    assert isinstance(operations, Operations)
    return operations


Ops = Annotated[Operations, Depends(_operations)]
router = APIRouter(prefix=BASE)


@router.get("/status", response_model=records.StatusRecord, responses=READ)
async def status(ops: Ops) -> Response:
    """Say how the server is."""
    now = ops.status()
    listeners = [
        {
            "port_id": listener.port.id,
            "protocol": listener.port.protocol.value,
            "address": address_text(listener.port.address),
            "port": listener.number,
            "open": listener.open,
            "error": listener.error,
        }
        for listener in now.listeners
    ]
    return JSONResponse(
        {
            "version": now.version,
            "state": now.state,
            "processedMessages": now.processed_messages,
            "sessions": now.sessions,
            "ipv6_available": now.ipv6_available,
            "generation": now.generation,
            "listeners": listeners,
        }
    )


@router.get("/ports", response_model=list[records.PortRecord], responses=READ)
async def ports(ops: Ops) -> Response:
    """List the TCP/IP ports as configured."""
    return JSONResponse([records.port_record(port) for port in ops.ports()])


@router.post("/ports", status_code=201, response_model=records.Created, responses=ADD)
async def add_port(ops: Ops, body: records.PortBody) -> Response:
    """Add a TCP/IP port; it opens at the restart."""
    return _created((await ops.add_port(body.fields())).id)


@router.put("/ports/{port_id}", response_model=records.PortRecord, responses=CHANGE)
async def change_port(ops: Ops, port_id: int, body: records.PortBody) -> Response:
    """Replace a TCP/IP port; the listener changes at the restart."""
    return JSONResponse(records.port_record(await ops.change_port(port_id, body.fields())))


@router.delete("/ports/{port_id}", response_model=records.Done, responses=READ_ONE)
async def delete_port(ops: Ops, port_id: int) -> Response:
    """Delete a TCP/IP port; the listener closes at the restart."""
    await ops.delete_port(port_id)
    return JSONResponse({})


@router.get("/ipranges", response_model=list[records.RangeRecord], responses=READ)
async def ranges(ops: Ops) -> Response:
    """List the IP ranges."""
    return StreamingResponse(_ranges_text(ops.ranges()), media_type="application/json")


@router.post("/ipranges", status_code=201, response_model=records.Created, responses=ADD)
async def add_range(ops: Ops, body: records.RangeBody) -> Response:
    """Add an IP range; it holds for the next connection."""
    return _created((await ops.add_range(body.fields())).id)


@router.put("/ipranges/{range_id}", response_model=records.RangeRecord, responses=CHANGE)
async def change_range(ops: Ops, range_id: int, body: records.RangeChange) -> Response:
    """Change some fields of an IP range; they hold for the next connection."""
    return JSONResponse(records.range_record(await ops.change_range(range_id, body.fields())))


@router.delete("/ipranges/{range_id}", response_model=records.Done, responses=READ_ONE)
async def delete_range(ops: Ops, range_id: int) -> Response:
    """Delete an IP range."""
    await ops.delete_range(range_id)
    return JSONResponse({})


@router.get("/settings", response_model=records.SettingsRecord, responses=READ)
async def settings(ops: Ops) -> Response:
    """Show the settings, without the password of the relay host."""
    return JSONResponse(records.settings_record(ops.settings()))


@router.put("/settings", response_model=records.SettingsRecord, responses=_answers(400, 401))
async def change_settings(ops: Ops, body: records.SettingsChange) -> Response:
    """Change some settings; they hold at once."""
    return JSONResponse(records.settings_record(await ops.change_settings(body.fields())))


@router.get("/certificates", response_model=list[records.CertificateRecord], responses=READ)
async def certificates(ops: Ops) -> Response:
    """List the certificates."""
    return JSONResponse([records.certificate_record(each) for each in ops.certificates()])


@router.post("/certificates", status_code=201, response_model=records.Created, responses=ADD)
async def add_certificate(ops: Ops, body: records.CertificateBody) -> Response:
    """Add a certificate; the files must be usable."""
    return _created((await ops.add_certificate(body.fields())).id)


@router.delete(
    "/certificates/{certificate_id}", response_model=records.Done, responses=_answers(401, 404, 409)
)
async def delete_certificate(ops: Ops, certificate_id: int) -> Response:
    """Delete a certificate; refused while a port uses it."""
    await ops.delete_certificate(certificate_id)
    return JSONResponse({})


@router.get("/domains", response_model=list[records.DomainRecord], responses=READ)
async def domains(ops: Ops) -> Response:
    """List the local domains."""
    return JSONResponse([records.domain_record(domain) for domain in ops.accounts.domains()])


@router.post("/domains", status_code=201, response_model=records.Created, responses=ADD)
async def add_domain(ops: Ops, body: records.DomainBody) -> Response:
    """Add a local domain."""
    return _created((await ops.add_domain(body.fields())).id)


@router.put("/domains/{domain}", response_model=records.DomainRecord, responses=CHANGE)
async def change_domain(ops: Ops, domain: str, body: records.DomainChange) -> Response:
    """Change some fields of a domain; its accounts follow its name."""
    return JSONResponse(records.domain_record(await ops.change_domain(domain, body.fields())))


@router.delete("/domains/{domain}", response_model=records.Done, responses=READ_ONE)
async def delete_domain(ops: Ops, domain: str) -> Response:
    """Delete a domain with its accounts and their mail."""
    await ops.delete_domain(domain)
    return JSONResponse({})


@router.get("/domains/{domain}/accounts", response_model=list[records.AccountRecord], responses=READ_ONE)
async def accounts(ops: Ops, domain: str) -> Response:
    """List the accounts of a domain."""
    found = ops.accounts.accounts(ops.domain(domain))
    return JSONResponse([{"id": account.id, "address": account.address} for account in found])


@router.post("/domains/{domain}/accounts", status_code=201, response_model=records.Created, responses=CHANGE)
async def add_account(ops: Ops, domain: str, body: records.AccountBody) -> Response:
    """Add an account."""
    return _created((await ops.add_account(domain, body.fields())).id)


@router.delete("/accounts/{address:path}", response_model=records.Done, responses=READ_ONE)
async def delete_account(ops: Ops, address: str) -> Response:
    """Delete an account with its mail."""
    await ops.delete_account(address)
    return JSONResponse({})


@router.get("/queue", response_model=list[records.QueuedRecord], responses=READ)
async def queue(ops: Ops) -> Response:
    """List the outgoing messages that wait."""
    return JSONResponse([records.queued_record(each) for each in await ops.queue()])


@router.post("/queue/{message_id}/retry", response_model=records.Done, responses=READ_ONE)
async def retry_queued(ops: Ops, message_id: int) -> Response:
    """Try an outgoing message now."""
    await ops.retry_queued(message_id)
    return JSONResponse({})


@router.delete("/queue/{message_id}", response_model=records.Done, responses=READ_ONE)
async def delete_queued(ops: Ops, message_id: int) -> Response:
    """Delete an outgoing message."""
    await ops.delete_queued(message_id)
    return JSONResponse({})


@router.post("/server/reinitialize", response_model=records.Done, responses=READ)
async def reinitialize(ops: Ops) -> Response:
    """Answer, then stop and start every service in the same process; poll /status."""
    return JSONResponse({}, background=BackgroundTask(_reinitialize, ops))


async def _reinitialize(operations: Operations) -> None:
    # A plain function would run in another thread than the server's.
    operations.reinitialize()


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe this interface; made when it is asked for, in a thread, as it takes its time."""
    return JSONResponse(await asyncio.to_thread(_openapi, request.app))


def create_app(operations: Operations) -> FastAPI:
    """Return the application, without its `guard.Guard`."""
    app = FastAPI(
        title="reference-server administration",
        version=__version__,
        openapi_url=None,  # see `openapi`
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # another path is another path: 404, like everything unknown
        exception_handlers={
            InvalidField: _invalid_field,
            RequestValidationError: _invalid_request,
            NotFound: _not_found,
            Conflict: _conflict,
            HTTPException: _other,
            Exception: _bug,
        },
    )
    app.state.operations = operations
    app.include_router(router)
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document: wrong input is answered 400, never FastAPI's 422."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        components = schema["components"]
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        components["securitySchemes"] = {"administrator": {"type": "http", "scheme": "basic"}}
        schema["security"] = [{"administrator": []}]
        app.openapi_schema = schema
    return app.openapi_schema


async def _ranges_text(found: Sequence[IpRange]) -> AsyncIterator[bytes]:
    """Yield the JSON text of a list, and let the others have the loop in between."""
    opening = "["
    for start in range(0, len(found), _CHUNK):
        some = [records.range_record(ip_range) for ip_range in found[start : start + _CHUNK]]
        yield (opening + json.dumps(some, ensure_ascii=False)[1:-1]).encode()
        opening = ","
        await asyncio.sleep(0)
    yield b"]" if found else b"[]"


def _created(record_id: int) -> Response:
    return JSONResponse({"id": record_id}, status_code=201)


def _error(code: int, message: str) -> Response:
    # What is echoed may hold what UTF-8 cannot say (a lone surrogate), or be endless.
    plain = message.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": plain[:_ERROR_LENGTH]}, status_code=code)


async def _invalid_field(_request: Request, error: Exception) -> Response:
    return _error(400, str(error))


async def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["loc"][0] == "path":
        return _error(404, "there is no such record")
    return _error(400, "; ".join(_words(problem) for problem in found))


def _words(problem: Any) -> str:
    """Return ``field: what is wrong`` of one finding of pydantic's."""
    if problem["type"] == "json_invalid":
        return f"body: is not JSON: {problem['ctx']['error']}"
    field = ".".join(str(part) for part in problem["loc"][1:]) or "body"
    message = {
        "missing": "is missing",
        "extra_forbidden": "is no field of this record",
    }.get(problem["type"], problem["msg"])
    if field == "body":
        message = "send a JSON object, with Content-Type: application/json"
    return f"{field}: {message}"


async def _not_found(_request: Request, error: Exception) -> Response:
    return _error(404, str(error))


async def _conflict(_request: Request, error: Exception) -> Response:
    return _error(409, str(error))


async def _other(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"body: {error.detail}" if error.status_code == 400 else str(error.detail)
    answer = _error(error.status_code, message)
    answer.headers.update(error.headers or {})
    return answer


async def _bug(_request: Request, error: Exception) -> Response:
    return _error(500, f"internal error ({type(error).__name__}); see the server's log")
