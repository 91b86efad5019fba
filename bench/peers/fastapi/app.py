"""The authentication service of the platform's original design, as a peer to be measured.

Its handlers are `async def` and call SQLAlchemy, Redis and bcrypt synchronously: that is the design, and it is what the
benchmark compares. README.md, one folder up, says which single fault of it is mended here.
"""

from __future__ import annotations

import enum
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Annotated

import bcrypt
import jwt
import redis
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, Enum, String, create_engine, func, make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

JWT_SECRET = os.environ["JWT_SECRET"]
TOKEN_LIFE = timedelta(hours=24)
SESSION_LIFE = timedelta(hours=24)
SESSION_EXTENSION = timedelta(hours=1)
BCRYPT_COST = 12

# The driver is named because what `postgresql://` means by itself changed with SQLAlchemy 2.1.
engine = create_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"),
    pool_size=64,
    max_overflow=0,
)
new_session = sessionmaker(engine)
sessions = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


# Tables


class Role(str, enum.Enum):
    USER = "user"
    ANALYST = "analyst"
    ADMIN = "admin"


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True, index=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    full_name: Mapped[str | None] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(Enum(Role, values_callable=lambda roles: [role.value for role in roles]))
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), onupdate=func.now())


def create_tables() -> None:
    with engine.begin() as connection:
        # Every worker comes here at the same time, and "create if missing" is no protection against that. The number
        # only has to be the same in all of them.
        connection.execute(select(func.pg_advisory_xact_lock(7_304_512)))
        Base.metadata.create_all(connection)


# Requests and answers


def within_bcrypt(password: str) -> str:
    if len(password.encode()) > 72:
        raise ValueError("bcrypt takes 72 bytes at most")
    return password


Email = Annotated[str, Field(max_length=255, pattern=r"^[^@\s]+@[^@\s]+$")]
Password = Annotated[str, AfterValidator(within_bcrypt)]


class Registration(BaseModel):
    email: Email
    password: Annotated[Password, Field(min_length=8)]
    full_name: Annotated[str | None, Field(max_length=255)] = None


class Credentials(BaseModel):
    email: Email
    password: Password


class UserResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    full_name: str | None
    role: Role
    is_active: bool
    created_at: datetime


class TokenResponse(BaseModel):
    access_token: str
    token_type: str = "bearer"
    expires_in: int = int(TOKEN_LIFE.total_seconds())
    user: UserResponse


# Passwords, tokens, sessions


def hash_password(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()


def is_password(password: str, password_hash: str) -> bool:
    return bcrypt.checkpw(password.encode(), password_hash.encode())


def new_token(user: UserResponse) -> str:
    now = datetime.now(timezone.utc)
    claims = {
        # RFC 7519 wants a string here, and PyJWT refuses anything else.
        "sub": str(user.id),
        "email": user.email,
        "role": user.role.value,
        "type": "access",
        "iat": now,
        "exp": now + TOKEN_LIFE,
    }
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


def session_key(user_id: int) -> str:
    return f"session:{user_id}"


def begin_session(user: UserResponse) -> TokenResponse:
    now = datetime.now(timezone.utc).isoformat()
    content = json.dumps({"email": user.email, "role": user.role.value, "login_at": now})
    sessions.setex(session_key(user.id), SESSION_LIFE, content)
    return TokenResponse(access_token=new_token(user), user=user)


# Dependencies


def get_db():
    db = new_session()
    try:
        yield db
    finally:
        db.close()


Database = Annotated[Session, Depends(get_db)]
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


async def get_current_user(bearer: Bearer, db: Database) -> UserResponse:
    try:
        claims = jwt.decode(bearer.credentials, JWT_SECRET, algorithms=["HS256"])
        user_id = int(claims["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError):
        raise unauthorized("Could not validate credentials") from None
    if claims.get("type") != "access":
        raise unauthorized("Could not validate credentials")
    session = sessions.get(session_key(user_id))
    if session is None:
        raise unauthorized("Session expired. Please log in again.")
    # Read as the design reads it; nothing in it is needed here.
    json.loads(session)
    user = db.scalar(select(User).where(User.id == user_id))
    if user is None:
        raise unauthorized("Could not validate credentials")
    if not user.is_active:
        raise HTTPException(403, "User account is inactive")
    return UserResponse.model_validate(user)


CurrentUser = Annotated[UserResponse, Depends(get_current_user)]


# Endpoints


@asynccontextmanager
async def lifespan(_: FastAPI):
    create_tables()
    yield


app = FastAPI(title="The original design's authentication service", lifespan=lifespan)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/auth/register", status_code=201)
async def register(registration: Registration, db: Database) -> TokenResponse:
    if db.scalar(select(User.id).where(User.email == registration.email)) is not None:
        raise HTTPException(400, "Email already registered")
    user = User(
        email=registration.email,
        password_hash=hash_password(registration.password),
        full_name=registration.full_name,
        role=Role.USER,
    )
    db.add(user)
    try:
        db.commit()
    except IntegrityError:
        # The other worker took the same address since we looked.
        raise HTTPException(400, "Email already registered") from None
    return begin_session(UserResponse.model_validate(user))


@app.post("/auth/login")
async def login(credentials: Credentials, db: Database) -> TokenResponse:
    user = db.scalar(select(User).where(User.email == credentials.email))
    if user is None or not is_password(credentials.password, user.password_hash):
        raise unauthorized("Incorrect email or password")
    if not user.is_active:
        raise HTTPException(403, "User account is inactive")
    return begin_session(UserResponse.model_validate(user))


@app.post("/auth/refresh")
async def refresh(user: CurrentUser) -> TokenResponse:
    key = session_key(user.id)
    remaining = sessions.ttl(key)
    if remaining > 0:
        sessions.expire(key, remaining + int(SESSION_EXTENSION.total_seconds()))
    return TokenResponse(access_token=new_token(user), user=user)


@app.get("/auth/me")
async def me(user: CurrentUser) -> UserResponse:
    return user
