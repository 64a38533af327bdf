"""Search over collections: emoji, shapes, a folder of one's own photographs; by words, by pictures.

`FolderIndex` keeps a folder searchable, `Collection` answers, `query_vector` says what is looked
for, `Filter` where. The exact search itself is `clip_lab.retrieval`.
"""

from clip_lab.search.approximate import ApproximateIndex, recall_at_k
from clip_lab.search.built_in import emoji_collection, shapes_collection
from clip_lab.search.collection import Answer, Collection
from clip_lab.search.filters import Filter
from clip_lab.search.folder import FolderIndex, Progress
from clip_lab.search.queries import Term, combine, query_vector

__all__ = [
    "Answer",
    "ApproximateIndex",
    "Collection",
    "Filter",
    "FolderIndex",
    "Progress",
    "Term",
    "combine",
    "emoji_collection",
    "query_vector",
    "recall_at_k",
    "shapes_collection",
]
