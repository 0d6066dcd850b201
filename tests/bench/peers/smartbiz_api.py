"""smartbiz-api as one writes it with FastAPI and SQLAlchemy: uvicorn smartbiz_api:app. It does less than
workloads/smartbiz-api: one line an order, no movements, no audit trail. DATABASE_URL names its
database, whose tables it makes."""
import os
import time

from fastapi import Depends, FastAPI, HTTPException, Request
from prometheus_client import Counter, Histogram
from pydantic import BaseModel, Field
from sqlalchemy import Column, DateTime, ForeignKey, Integer, String, create_engine, func
from sqlalchemy.orm import Session, declarative_base, sessionmaker

engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
new_session = sessionmaker(bind=engine, autoflush=False)
Base = declarative_base()


class Article(Base):
    __tablename__ = "articles"
    id = Column(Integer, primary_key=True)
    name = Column(String(200), nullable=False)
    description = Column(String(2000), nullable=False, default="")
    price_cents = Column(Integer, nullable=False)
    stock = Column(Integer, nullable=False, default=0)
    created_at = Column(DateTime, server_default=func.now(), nullable=False)


class Customer(Base):
    __tablename__ = "customers"
    id = Column(Integer, primary_key=True)
    name = Column(String(200), nullable=False)
    email = Column(String(254), nullable=False, unique=True)
    created_at = Column(DateTime, server_default=func.now(), nullable=False)


class Order(Base):
    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    customer_id = Column(ForeignKey("customers.id"), nullable=False)
    article_id = Column(ForeignKey("articles.id"), nullable=False)
    quantity = Column(Integer, nullable=False)
    total_cents = Column(Integer, nullable=False)
    created_at = Column(DateTime, server_default=func.now(), nullable=False)


class ArticleOut(BaseModel):
    id: int
    name: str
    description: str
    price_cents: int
    stock: int

    class Config:
        orm_mode = True  # pydantic 1
        from_attributes = True  # pydantic 2


class OrderIn(BaseModel):
    customer_id: int
    article_id: int
    quantity: int = Field(gt=0)


class OrderOut(OrderIn):
    id: int
    total_cents: int

    class Config:
        orm_mode = True  # pydantic 1
        from_attributes = True  # pydantic 2


if os.environ.get("MAKE_TABLES"):
    Base.metadata.create_all(engine)
app = FastAPI()
requests = Counter("http_requests_total", "Requests", ["method", "endpoint", "status"])
durations = Histogram("http_request_duration_seconds", "Durations", ["method", "endpoint"])


@app.middleware("http")
async def count(request: Request, call_next):
    began = time.perf_counter()
    response = await call_next(request)
    route = request.scope.get("route")
    endpoint = route.path if route else "other"
    requests.labels(request.method, endpoint, response.status_code).inc()
    durations.labels(request.method, endpoint).observe(time.perf_counter() - began)
    return response


def session():
    with new_session() as one:
        yield one


@app.get("/health")
def health():
    return {"status": "healthy"}


@app.get("/articles/{number}", response_model=ArticleOut)
def article(number: int, db: Session = Depends(session)):
    found = db.get(Article, number)
    if found is None:
        raise HTTPException(404, "there is no article with this id")
    return found


@app.get("/articles", response_model=list[ArticleOut])
def articles(limit: int = 50, db: Session = Depends(session)):
    return db.query(Article).order_by(Article.id).limit(limit).all()


@app.post("/orders", response_model=OrderOut, status_code=201)
def order(wanted: OrderIn, db: Session = Depends(session)):
    if db.get(Customer, wanted.customer_id) is None:
        raise HTTPException(404, "there is no customer with this id")
    found = db.query(Article).filter(Article.id == wanted.article_id).with_for_update().first()
    if found is None:
        raise HTTPException(404, "there is no article with this id")
    if found.stock < wanted.quantity:
        raise HTTPException(409, f"insufficient stock: {found.stock} available")
    found.stock -= wanted.quantity
    made = Order(**wanted.dict(), total_cents=found.price_cents * wanted.quantity)
    db.add(made)
    db.commit()
    db.refresh(made)
    return made
