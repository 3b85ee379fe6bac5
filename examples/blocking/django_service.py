"""Events of a Django service, in PostgreSQL: requests of all threads of a process share batches.

Serve it with `gunicorn -c examples/blocking/gunicorn_conf.py examples.blocking.django_service:app`, and the database's
place in SINKWELL_POSTGRES_DSN.
Run it: `python -m examples.blocking.django_service`: gunicorn, two workers, and a database that hangs at the end.
"""

import secrets

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from examples.blocking.events import event, sink
from sinkwell.core import DeliveryError, Outcome


@require_POST
def place_order(_: HttpRequest, number: int) -> JsonResponse:
    """Answer 201 when the event is committed, and not before."""
    try:
        sink.put(event("order", number), timeout=10)
    except DeliveryError as error:
        return JsonResponse({"error": str(error)}, status=503 if error.outcome is Outcome.NOT_WRITTEN else 504)
    return JsonResponse({"order": number}, status=201)


@require_POST
def note_view(_: HttpRequest, number: int) -> JsonResponse:
    """Answer 202 when the event is accepted; it is delivered soon, and at the process's end at the latest."""
    sink.submit(event("view", number), timeout=10)
    return JsonResponse({"view": number}, status=202)


urlpatterns = [path("orders/<int:number>", place_order), path("views/<int:number>", note_view)]

# A project has these in its settings module.
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY=secrets.token_hex())
app = get_wsgi_application()

if __name__ == "__main__":
    from examples.blocking.trial import try_service

    try_service("examples.blocking.django_service")
