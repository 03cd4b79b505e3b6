"""docs/hpsocket.md names all that the TCP components of HP-Socket have, and every word that it answers with exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from words import check

PAGE = Path(__file__).resolve().parents[1] / "docs" / "hpsocket.md"


def accessors(*names: str) -> list[str]:
    return [f"{verb}{name}" for name in names for verb in ("Set", "Get")]


SSL = [
    "SetupSSLContext",
    "SetupSSLContextByMemory",
    "CleanupSSLContext",
    "StartSSLHandShake",
    "SetSSLAutoHandShake",
    "IsSSLAutoHandShake",
    *accessors("SSLCipherList"),
    "GetSSLSessionInfo",
]
TCP = ["SendSmallFile", *accessors("SocketBufferSize", "KeepAliveTime", "KeepAliveInterval"), "SetNoDelay", "IsNoDelay"]
LISTENER = ["OnHandShake", "OnReceive", "OnSend", "OnClose"]

# What the interfaces declare, by the heading under which the page has it; 4.x to 6.0.
INTERFACES: dict[str, list[str]] = {
    "Server and agent: methods (IComplexSocket)": [
        *("Stop", "Send", "SendPackets", "PauseReceive", "Disconnect", "Wait"),
        *("DisconnectLongConnections", "DisconnectSilenceConnections"),
    ],
    "Server and agent: properties (IComplexSocket)": [
        *accessors("ConnectionExtra", "ReuseAddressPolicy", "SendPolicy", "OnSendSyncPolicy", "MaxConnectionCount"),
        *accessors("FreeSocketObjLockTime", "FreeSocketObjPool", "FreeBufferObjPool", "FreeSocketObjHold"),
        *accessors("FreeBufferObjHold", "WorkerThreadCount"),
        *("SetMarkSilence", "IsMarkSilence", "IsSecure", "HasStarted", "GetState", "GetConnectionCount"),
        *("GetAllConnectionIDs", "GetConnectPeriod", "GetSilencePeriod", "GetLocalAddress", "GetRemoteAddress"),
        *("GetLastError", "GetLastErrorDesc", "GetPendingDataLength", "IsPauseReceive", "IsConnected"),
    ],
    "Server (IServer, ITcpServer)": [
        *("Start", "GetListenAddress", "AddSSLContext", "AddSSLContextByMemory", "BindSSLServerName"),
        *accessors("AcceptSocketCount", "SocketListenQueue"),
        *TCP,
        *SSL,
    ],
    "Agent (IAgent, ITcpAgent)": [
        *("Start", "Connect", "ConnectWithExtra", "GetRemoteHost", "SetReuseAddress", "IsReuseAddress"),
        *accessors("SyncConnectTimeout"),
        *TCP,
        *SSL,
    ],
    "Client (IClient, ITcpClient)": [
        *("Start", "Stop", "Send", "SendPackets", "PauseReceive", "Wait", "IsSecure", "HasStarted", "GetState"),
        *("GetLastError", "GetLastErrorDesc", "GetConnectionID", "GetLocalAddress", "GetRemoteHost"),
        *("GetPendingDataLength", "IsPauseReceive", "IsConnected"),
        *accessors("Extra", "ReuseAddressPolicy", "FreeBufferPoolSize", "FreeBufferPoolHold", "SyncConnectTimeout"),
        *TCP,
        *SSL,
    ],
    "Pull and pack (IPullSocket, IPullClient, IPackSocket, IPackClient)": [
        *("Fetch", "Peek"),
        *accessors("MaxPackSize", "PackHeaderFlag"),
    ],
    "Listener": [*LISTENER, "OnPrepareListen", "OnAccept", "OnPrepareConnect", "OnConnect", "OnShutdown"],
    "Codes": [
        *(f"HR_{name}" for name in ("OK", "IGNORE", "ERROR")),
        *(f"SO_{name}" for name in ("UNKNOWN", "ACCEPT", "CONNECT", "SEND", "RECEIVE", "CLOSE")),
        *(f"SS_{name}" for name in ("STARTING", "STARTED", "STOPPING", "STOPPED")),
        *(f"SE_{name}" for name in ("OK", "ILLEGAL_STATE", "INVALID_PARAM", "CONNECT_SERVER", "NETWORK", "DATA_PROC")),
        *(f"SE_SOCKET_{name}" for name in ("CREATE", "BIND", "PREPARE", "LISTEN")),
        *(f"SE_{name}" for name in ("CP_CREATE", "WORKER_THREAD_CREATE", "DETECT_THREAD_CREATE")),
        *("SE_SOCKE_ATTACH_TO_CP", "SE_DATA_SEND", "SE_SSL_ENV_NOT_READY", "SYS_GetLastError"),
        *("FR_OK", "FR_LENGTH_TOO_LONG", "FR_DATA_NOT_FOUND", "RAP_NONE", "RAP_ADDR_ONLY", "RAP_ADDR_AND_PORT"),
        *("SP_PACK", "SP_SAFE", "SP_DIRECT", "OSSP_NONE", "OSSP_CLOSE", "OSSP_RECEIVE"),
    ],
}
CLASSES = [
    f"{kind}Tcp{model}{role}"
    for kind in "CI"
    for model in ("", "Pull", "Pack")
    for role in ("Server", "Agent", "Client")
]


class Row(NamedTuple):
    heading: str
    theirs: list[str]
    ours: list[str]
    notes: str


def rows() -> Iterator[Row]:
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 3, line
            theirs, ours = (re.findall(r"`([^`]+)`", cell) for cell in cells[:2])
            assert bool(ours) != (cells[1] == "none"), line
            yield Row(heading, theirs, ours, cells[2])


ROWS = list(rows())
WORDS = sorted({word for row in ROWS for word in [*row.ours, *re.findall(r"`(\w+=|[\w.]+\.[\w.=()]+)`", row.notes)]})


@pytest.mark.parametrize("heading", INTERFACES)
def test_no_name_is_missing(heading: str) -> None:
    found = [name for row in ROWS if row.heading == heading for name in row.theirs]
    assert sorted(found) == sorted(INTERFACES[heading])


def test_no_class_is_missing() -> None:
    found = {name for row in ROWS if row.heading == "Components" for name in row.theirs}
    assert set(CLASSES) <= found


def test_where_there_is_none_the_page_says_why() -> None:
    assert [row.theirs for row in ROWS if not row.ours and not row.notes] == []


@pytest.mark.parametrize("word", WORDS)
def test_every_word_of_ours_exists(word: str) -> None:
    check(word)


def test_words_in_the_text_exist_too() -> None:
    text = "\n".join(line for line in PAGE.read_text(encoding="utf-8").splitlines() if not line.startswith("|"))
    for word in re.findall(r"`((?:server|agent|client|conn|component)\.\w+(?:\(\w+=\))?|\w+=)`", text):
        if word != "name=":
            check(word)
