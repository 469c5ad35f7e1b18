"""The rules as LangChain sees them: a retriever over the one search."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from functions.shared.conditions import State
from functions.shared.rules import Passage
from functions.shared.search import Rulebook, Selection


class RuleRetriever(BaseRetriever):
    """5 to 10 rules for one item in one state: effective on a day, in a region and kind of home, newest first.

    The query ranks by meaning (pgvector) where there are more rules than fit; it never brings in the rules of another
    item. `selection` is the last answer, and how it was chosen.
    """

    rulebook: Rulebook
    item_id: str
    state: State
    region: str | None
    housing: str | None
    on: date
    selection: Selection | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        self.selection = self.rulebook.select(
            self.item_id, self.state, region=self.region, housing=self.housing, on=self.on, question=query
        )
        return [
            Document(id=passage.id, page_content=passage.text, metadata=_metadata(passage))
            for passage in self.selection.passages
        ]


def _metadata(passage: Passage) -> dict[str, Any]:
    """Everything but the text, as JSON values."""
    values = asdict(passage)
    del values["text"]
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
