"""The pipeline of a cluster that is only looked at: reads as ever, writes refused with the reason."""

from ksql.schema.errors import MethodNotAllowedError
from ksql.verbs import reviews
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Page, Request, Result, Selection


class ShownPipeline(Pipeline):
    """See the module. `why` says whose cluster this is, and why nothing can be written."""

    why = "this cluster is only looked at"

    async def perform(self, request: Request) -> Result:
        is_question = request.verb == "create" and request.type.key in reviews.KINDS
        if request.verb != "get" and not is_question:
            self.authorize(request)
            raise MethodNotAllowedError(self.why)
        return await super().perform(request)

    async def delete_collection(self, request: Request, selection: Selection) -> Page:
        self.authorize(request)
        raise MethodNotAllowedError(self.why)
