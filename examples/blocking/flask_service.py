"""Events of a Flask service, in PostgreSQL: requests of all threads of a process share batches.

Serve it with `gunicorn -c examples/blocking/gunicorn_conf.py examples.blocking.flask_service:app`, and the database's
place in SINKWELL_POSTGRES_DSN.
Run it: `python -m examples.blocking.flask_service`: gunicorn, two workers, and a database that hangs at the end.
"""

from flask import Flask
from flask.typing import ResponseReturnValue

from examples.blocking.events import event, sink
from sinkwell.core import DeliveryError, Outcome

app = Flask(__name__)


@app.post("/orders/<int:number>")
def place_order(number: int) -> ResponseReturnValue:
    """Answer 201 when the event is committed, and not before."""
    try:
        sink.put(event("order", number), timeout=10)
    except DeliveryError as error:
        return {"error": str(error)}, 503 if error.outcome is Outcome.NOT_WRITTEN else 504
    return {"order": number}, 201


@app.post("/views/<int:number>")
def note_view(number: int) -> ResponseReturnValue:
    """Answer 202 when the event is accepted; it is delivered soon, and at the process's end at the latest."""
    sink.submit(event("view", number), timeout=10)
    return {"view": number}, 202


if __name__ == "__main__":
    from examples.blocking.trial import try_service

    try_service("examples.blocking.flask_service")
