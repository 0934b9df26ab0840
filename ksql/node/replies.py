"""What simulated containers answer on their ports that perform no program of their own.

Ports answer HTTP where `containerPorts` names them, or where an image that declares none is known to listen.
/healthz says ok, /hostname the pod's name, a body sent to /echo comes back, all else tells the pod, the
method and the path. Annotations, as in `lifecycle`:

| annotation  | value                 | meaning                                               |
|-------------|-----------------------|-------------------------------------------------------|
| `http-code` | 200 to 599            | with which every path but /healthz is answered (200)  |
| `http-body` | text                  | what is answered instead                              |
"""

from ksql.base.documents import Document
from ksql.node.images.web import Handler
from ksql.node.lifecycle import annotation_of
from ksql.node.responder import Question, Reply


def replies(pod: Document, container: str) -> Handler:
    async def answer(question: Question) -> Reply:
        return _reply(pod, container, question)

    return answer


def _reply(pod: Document, container: str, question: Question) -> Reply:
    """What a pod answers on its ports."""
    name, path = pod["metadata"]["name"], question.path.partition("?")[0]
    if path == "/healthz":
        return Reply(200, b"ok")
    code = annotation_of(pod, container, "http-code")
    status = int(code) if code.isdigit() and 200 <= int(code) <= 599 else 200
    if body := annotation_of(pod, container, "http-body"):
        return Reply(status, body.encode())
    if path == "/hostname":
        return Reply(status, name.encode())
    if path == "/echo":
        return Reply(status, question.body)
    return Reply(status, f"{name}: {question.method} {question.path}\n".encode())
