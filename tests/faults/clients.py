"""Clients that remember what the service acknowledged, and say when it is not so any more."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
from world import NEAR_TTL, Node, World

# How soon another node knows of a revocation: connected (contract: 250 ms; a busy machine may add its own), and cut off.
CONNECTED = 1.0
CUT_OFF = NEAR_TTL + 0.5
NUMBERS = itertools.count(1)


@dataclass
class Session:
    """A session that the service acknowledged and that nothing has ended."""

    refresh: str
    access: list[str]
    opened: float


@dataclass
class Account:
    email: str
    password: str
    id: int
    sessions: list[Session] = field(default_factory=list)
    role: str = "user"
    role_since: float = 0.0
    acts: int = 0
    # Held while an act is under way.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Ended:
    """What the service said is over: an access token, a refresh token, or a password."""

    kind: str
    value: str
    why: str
    email: str
    since: float
    node: Node


class Records:
    """What was acknowledged, what was checked, and what was wrong."""

    def __init__(self, world: World):
        self.world = world
        self.acknowledged: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.unknown = 0
        self.violations: list[str] = []
        self.ended: list[Ended] = []
        self.fault: str | None = "start"
        # When the last fault was over and the service ready again; None while it is not.
        self.calm_since: float | None = None
        self.slowest_answer = 0.0
        self.stalest = 0.0

    def violation(self, text: str) -> None:
        self.violations.append(f"[{self.fault or 'calm'}] {text}")
        print(f"VIOLATION {self.violations[-1]}", flush=True)

    def is_calm_since(self, moment: float) -> bool:
        """Whether nothing was broken since a second before `moment`."""
        return self.calm_since is not None and self.calm_since + 1.0 < moment

    def bound(self, moment: float, same_node: bool) -> float:
        """How long after `moment` a node may go on with what was true before."""
        if same_node:
            return 0.0
        return CONNECTED if self.is_calm_since(moment) else CUT_OFF

    def end(self, account: Account, session: Session, why: str, node: Node, since: float) -> None:
        for token in session.access:
            self.ended.append(Ended("access", token, why, account.email, since, node))
        self.ended.append(Ended("refresh", session.refresh, why, account.email, since, node))


class Clients:
    def __init__(self, world: World, records: Records, rng: random.Random):
        self.world = world
        self.records = records
        self.rng = rng
        self.http = httpx.AsyncClient(timeout=15, trust_env=False, limits=httpx.Limits(max_connections=200))
        self.accounts: list[Account] = []
        self.is_over = False
        self.admin = ""
        self.admin_email = "admin@example.com"
        self.admin_password = secrets.token_urlsafe(18)

    def node(self) -> Node:
        return self.rng.choice(self.world.nodes)

    async def send(self, node: Node, method: str, path: str, token: str | None = None, body: dict | None = None):
        """The answer, or None when it is not known what became of the request: no answer, or 503."""
        begun = time.monotonic()
        was_calm = self.records.is_calm_since(begun)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            answer = await self.http.request(method, node.url + path, headers=headers, json=body)
        except httpx.TransportError as error:
            answer, said = None, repr(error)
        else:
            said = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code >= 500 and answer.status_code != 503:
                self.records.violation(f"{method} {path}: {said}")
        took = time.monotonic() - begun
        self.records.slowest_answer = max(self.records.slowest_answer, took)
        if answer is None or answer.status_code == 503:
            if was_calm and self.records.is_calm_since(begun):
                self.records.violation(f"{method} {path} was refused while nothing was broken: {said}")
            self.records.unknown += 1
            return None
        return answer

    def wrong(self, what: str, answer: httpx.Response) -> None:
        self.records.violation(f"{what}: {answer.status_code} {answer.text[:300]}")

    # What an owner does. Each gives False when it is no longer known what is true of the account.

    async def log_in(self, account: Account) -> bool:
        begun = time.monotonic()
        answer = await self.send(self.node(), "POST", "/auth/login", body={"email": account.email, "password": account.password})
        if answer is None:
            return True
        if answer.status_code != 200:
            self.wrong("the right password was refused", answer)
            return False
        tokens = answer.json()
        account.sessions.append(Session(tokens["refresh_token"], [tokens["access_token"]], begun))
        self.records.acknowledged["sign-in"] += 1
        return True

    async def look(self, account: Account) -> bool:
        session = self.rng.choice(account.sessions)
        node, begun = self.node(), time.monotonic()
        answer = await self.send(node, "GET", "/auth/me", self.rng.choice(session.access))
        if answer is None:
            return True
        self.records.checked["a live session is accepted"] += 1
        if answer.status_code != 200:
            self.wrong("a live session was refused", answer)
            return False
        if begun - account.role_since > self.records.bound(account.role_since, False):
            self.records.checked["a change of the role holds"] += 1
            if answer.json()["role"] != account.role:
                self.records.violation(f"the role is {answer.json()['role']}, {account.role} was acknowledged")
        return True

    async def refresh(self, account: Account) -> bool:
        """Also twice at once, at any two nodes, as two tabs do."""
        session = self.rng.choice(account.sessions)
        twice = self.rng.random() < 0.4
        body = {"refresh_token": session.refresh}
        sent = [self.send(self.node(), "POST", "/auth/refresh", body=body) for _ in range(2 if twice else 1)]
        answers = [answer for answer in await asyncio.gather(*sent) if answer is not None]
        for answer in answers:
            if answer.status_code != 200:
                self.wrong("a live session could not be refreshed", answer)
                return False
        if not answers:
            return True
        self.records.acknowledged["refresh"] += len(answers)
        children = {answer.json()["refresh_token"] for answer in answers}
        if len(answers) == 2:
            self.records.checked["one refresh token has one successor"] += 1
            if len(children) != 1:
                self.records.violation("one refresh token had two successors")
        session.refresh = children.pop()
        session.access = (session.access + [answer.json()["access_token"] for answer in answers])[-4:]
        return True

    async def log_out(self, account: Account) -> bool:
        session = account.sessions.pop(self.rng.randrange(len(account.sessions)))
        while not self.is_over:
            node = self.node()
            answer = await self.send(node, "POST", "/auth/logout", body={"refresh_token": session.refresh})
            if answer is not None:
                if answer.status_code != 200:
                    self.wrong("signing out was refused", answer)
                    return False
                self.records.acknowledged["sign-out"] += 1
                self.records.end(account, session, "signed out", node, time.monotonic())
                return True
            await asyncio.sleep(0.1)
        return False

    async def end_others(self, account: Account) -> bool:
        session, node = account.sessions[0], self.node()
        answer = await self.send(node, "DELETE", "/auth/sessions", session.access[-1])
        if answer is None:
            return False
        if answer.status_code != 200:
            self.wrong("ending the other sessions was refused", answer)
            return False
        self.records.acknowledged["end of other sessions"] += 1
        for other in account.sessions[1:]:
            self.records.end(account, other, "others ended", node, time.monotonic())
        account.sessions = [session]
        return True

    async def change_password(self, account: Account) -> bool:
        session, node, new = account.sessions[0], self.node(), secrets.token_urlsafe(12)
        body = {"current_password": account.password, "new_password": new}
        answer = await self.send(node, "POST", "/auth/password/change", session.access[-1], body)
        if answer is None:
            return False
        if answer.status_code != 200:
            self.wrong("a change of the password was refused", answer)
            return False
        now = time.monotonic()
        self.records.acknowledged["change of password"] += 1
        self.records.ended.append(Ended("password", account.password, "replaced", account.email, now, node))
        for other in account.sessions:
            self.records.end(account, other, "password changed", node, now)
        account.password = new
        tokens = answer.json()
        account.sessions = [Session(tokens["refresh_token"], [tokens["access_token"]], now)]
        return True

    async def reset_password(self, account: Account) -> bool:
        """One link, used twice at once."""
        try:
            link = await asyncio.to_thread(self.world.command, "user", "reset-link", account.email)
        except Exception:
            return False
        token = link.strip().rpartition("=")[2]
        node, new = self.node(), [secrets.token_urlsafe(12) for _ in range(2)]
        answers = await asyncio.gather(
            *(self.send(node, "POST", "/auth/password/reset", body={"token": token, "new_password": one}) for one in new)
        )
        good = [one for one, answer in zip(new, answers, strict=True) if answer is not None and answer.status_code == 200]
        self.records.checked["a reset link is used at most once"] += 1
        if len(good) > 1:
            self.records.violation("one reset link was used twice")
        if None in answers or len(good) != 1:
            return False
        now = time.monotonic()
        self.records.acknowledged["reset of password"] += 1
        self.records.ended.append(Ended("password", account.password, "reset", account.email, now, node))
        for session in account.sessions:
            self.records.end(account, session, "password reset", node, now)
        account.password, account.sessions = good[0], []
        return True

    async def change_role(self, account: Account) -> bool:
        role = "analyst" if account.role == "user" else "user"
        answer = await self.send(self.node(), "PATCH", f"/admin/users/{account.id}", self.admin, {"role": role})
        if answer is None:
            return False
        if answer.status_code != 200:
            self.wrong("a change of the role was refused", answer)
            return False
        self.records.acknowledged["change of role"] += 1
        account.role, account.role_since = role, time.monotonic()
        return True

    async def deactivate(self, account: Account) -> bool:
        node = self.node()
        answer = await self.send(node, "PATCH", f"/admin/users/{account.id}", self.admin, {"is_active": False})
        if answer is None:
            return False
        if answer.status_code != 200:
            self.wrong("a deactivation was refused", answer)
            return False
        self.records.acknowledged["deactivation"] += 1
        now = time.monotonic()
        for session in account.sessions:
            self.records.end(account, session, "deactivated", node, now)
        account.sessions = []
        body = {"email": account.email, "password": account.password}
        answer = await self.send(self.node(), "POST", "/auth/login", body=body)
        if answer is not None:
            self.records.checked["a deactivated account cannot sign in"] += 1
            if answer.status_code != 403:
                self.wrong("a deactivated account signed in", answer)
        answer = await self.send(node, "PATCH", f"/admin/users/{account.id}", self.admin, {"is_active": True})
        return answer is not None and answer.status_code == 200

    ACTS = (
        (log_in, 10), (look, 40), (refresh, 25), (log_out, 8), (end_others, 3),
        (change_password, 4), (reset_password, 1), (change_role, 5), (deactivate, 2),
    )  # fmt: skip

    async def register(self) -> Account | None:
        email, password = f"user{next(NUMBERS)}@example.com", secrets.token_urlsafe(12)
        begun = time.monotonic()
        answer = await self.send(self.node(), "POST", "/auth/register", body={"email": email, "password": password})
        if answer is None:
            return None
        if answer.status_code != 201:
            self.wrong("a registration was refused", answer)
            return None
        self.records.acknowledged["registration"] += 1
        tokens = answer.json()
        session = Session(tokens["refresh_token"], [tokens["access_token"]], begun)
        return Account(email, password, tokens["user"]["id"], [session])

    async def work(self) -> None:
        """Owns one account after the other."""
        account = None
        while not self.is_over:
            await asyncio.sleep(self.rng.uniform(0.005, 0.04))
            if account is None or account.acts > 60 or len(account.sessions) > 12:
                if account in self.accounts:
                    self.accounts.remove(account)
                account = await self.register()
                if account:
                    self.accounts.append(account)
                continue
            acts, weights = zip(*self.ACTS, strict=True)
            act = self.rng.choices(acts, weights)[0]
            if not account.sessions:
                act = Clients.log_in
            account.acts += 1
            async with account.lock:
                if not await act(self, account):
                    self.accounts.remove(account)
                    account = None

    async def check_ended(self, one: Ended, node: Node) -> None:
        """Presents what is over. It has to stay over."""
        begun = time.monotonic()
        if one.kind == "access":
            path = self.rng.choice(("/auth/me", "/auth/check"))
            answer = await self.send(node, "GET", path, one.value)
            bound = self.records.bound(one.since, node is one.node)
        elif one.kind == "refresh":
            answer = await self.send(node, "POST", "/auth/refresh", body={"refresh_token": one.value})
            bound = 0.0
        else:
            answer = await self.send(node, "POST", "/auth/login", body={"email": one.email, "password": one.value})
            bound = 0.0
        if answer is None:
            return
        self.records.checked[f"what was ended stays ended: {one.kind}"] += 1
        if answer.status_code >= 300:
            return
        age = begun - one.since
        if age > bound:
            self.records.violation(f"{one.kind} was accepted {age:.2f} s after it was over ({one.why})")
        else:
            self.records.stalest = max(self.records.stalest, age)

    def some_ended(self, count: int) -> list[Ended]:
        """The latest ones, and some of all."""
        recent = self.records.ended[-200:]
        chosen = [self.rng.choice(recent) for _ in range(count // 2)] if recent else []
        return chosen + ([self.rng.choice(self.records.ended) for _ in range(count - len(chosen))] if recent else [])

    async def check(self) -> None:
        while not self.is_over:
            await asyncio.sleep(self.rng.uniform(0.005, 0.03))
            for one in self.some_ended(1):
                await self.check_ended(one, self.node())

    async def check_all(self) -> None:
        """After a fault, at every node: what is over, and who is signed in."""
        await asyncio.gather(
            *(self.check_ended(one, node) for node in self.world.nodes for one in self.some_ended(12)),
            *(self.look_again(account) for account in list(self.accounts)),
        )

    async def look_again(self, account: Account) -> None:
        async with account.lock:
            if account.sessions and account in self.accounts:
                await self.look(account)
