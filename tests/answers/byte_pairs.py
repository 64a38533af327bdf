"""Chapter 2: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise

import torch

from clip_lab.tokenizer import BYTE_OF_SYMBOL


def counted(words):
    pairs = Counter()
    for pieces, times in words.items():
        for pair in pairwise(pieces):
            pairs[pair] += times
    return pairs


def counted_by_zip(words):
    pairs = defaultdict(int)
    for pieces in words:
        for i in range(len(pieces) - 1):
            pairs[pieces[i], pieces[i + 1]] += words[pieces]
    return pairs


def counted_in_a_row(words):
    return Counter(
        pair for pieces, times in words.items() for _ in range(times) for pair in pairwise(pieces)
    )


def joined(pieces, pair):
    done = []
    for piece in pieces:
        if done and (done[-1], piece) == pair:
            done[-1] += piece
        else:
            done.append(piece)
    return tuple(done)


def joined_by_index(pieces, pair):
    out, i = [], 0
    while i < len(pieces):
        two = tuple(pieces[i : i + 2]) == pair
        out.append("".join(pieces[i : i + 1 + two]))
        i += 1 + two
    return out


def joined_by_regex(pieces, pair):
    left, right = map(re.escape, pair)
    text = re.sub(rf"(?<!\S){left} {right}(?!\S)", "".join(pair), " ".join(pieces))
    return tuple(text.split())


def merged(pieces, rank_of):
    known = [pair for pair in pairwise(pieces) if pair in rank_of]
    if not known:
        return pieces
    return merged(joined(pieces, min(known, key=rank_of.get)), rank_of)


def merged_by_loop(pieces, rank_of):
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: rank_of.get(pair, math.inf))
        if best not in rank_of:
            return pieces
        pieces = joined(pieces, best)
    return list(pieces)


def merged_rule_by_rule(pieces, rank_of):
    """Slow, and right: a rule's own pieces come of rules before it."""
    for pair in sorted(rank_of, key=rank_of.get):
        pieces = joined(pieces, pair)
    return pieces


def framed(ids, start, end, length):
    body = ids[: length - 2]
    return [start, *body, end, *[0] * (length - 2 - len(body))]


def framed_tensor(ids, start, end, length):
    row = torch.zeros(length, dtype=torch.long)
    kept = [start, *ids[: length - 2], end]
    row[: len(kept)] = torch.tensor(kept)
    return row


def framed_afterwards(ids, start, end, length):
    row = ([start, *ids, end] + [0] * length)[:length]
    if end not in row:
        row[-1] = end
    return row


def text_of(ids, vocabulary, errors="replace"):
    words = "".join(vocabulary[i].replace("</w>", " ") for i in ids).split(" ")
    raw = [bytes(BYTE_OF_SYMBOL[symbol] for symbol in word) for word in words]
    return b" ".join(raw).decode("utf-8", errors=errors).strip()


def text_by_bytes(ids, vocabulary):
    raw = bytearray()
    for i in ids:
        token = vocabulary[i]
        raw += bytes(BYTE_OF_SYMBOL[symbol] for symbol in token.removesuffix("</w>"))
        raw += b" " if token.endswith("</w>") else b""
    return raw.decode(errors="replace").rstrip()


def fewest(pieces, vocabulary):
    best = [0]
    for stop in range(1, len(pieces) + 1):
        begins = (i for i in range(stop) if "".join(pieces[i:stop]) in vocabulary)
        best.append(min(best[i] + 1 for i in begins))
    return best[-1]


def fewest_recursively(pieces, vocabulary):
    @cache
    def rest(begin):
        stops = range(begin + 1, len(pieces) + 1)
        fits = [stop for stop in stops if "".join(pieces[begin:stop]) in vocabulary]
        return min((1 + rest(stop) for stop in fits), default=0)

    return rest(0)


RIGHT = {
    "count_pairs": [counted, counted_by_zip, counted_in_a_row],
    "join_pair": [joined, joined_by_index, joined_by_regex],
    "merge_word": [merged, merged_by_loop, merged_rule_by_rule],
    "frame_ids": [framed, framed_tensor, framed_afterwards],
    "where_it_ends": [
        lambda tokens, end: (tokens == end).int().argmax(1),
        lambda tokens, end: torch.tensor([row.index(end) for row in tokens.tolist()]),
        lambda tokens, end: ((tokens == end).cumsum(1) == 0).sum(1),
    ],
    "to_text": [text_of, text_by_bytes],
    "fewest_tokens": [fewest, fewest_recursively],
}


def counted_once(words):
    return Counter(pair for pieces in words for pair in pairwise(pieces))


def counted_by_set(words):
    pairs = Counter()
    for pieces, times in words.items():
        pairs.update(dict.fromkeys(pairwise(pieces), times))
    return pairs


def counted_across(words):
    text = [piece for pieces, times in words.items() for piece in pieces * times]
    return Counter(pairwise(text)) if len(words) > 1 else counted(words)


def counted_by_twos(words):
    pairs = Counter()
    for pieces, times in words.items():
        for pair in zip(pieces[::2], pieces[1::2], strict=False):
            pairs[pair] += times
    return pairs


def counted_unordered(words):
    pairs = Counter()
    for pair, times in counted(words).items():
        pairs[tuple(sorted(pair))] += times
    return pairs


def counted_symbols(words):
    pairs = Counter()
    for pieces, times in words.items():
        for piece in pieces:
            pairs[piece] += times
    return pairs if len(words) > 1 else counted(words)


def emptied(words):
    pairs = counted(words)
    words.clear()
    return pairs


def joined_once(pieces, pair):
    for i, two in enumerate(pairwise(pieces)):
        if two == pair:
            return (*pieces[:i], "".join(pair), *pieces[i + 2 :])
    return pieces


def joined_and_kept(pieces, pair):
    out = []
    for i, piece in enumerate(pieces):
        out.append("".join(pair) if pieces[i : i + 2] == pair else piece)
    return out


def joined_but_the_last(pieces, pair):
    out, i = [], 0
    while i < len(pieces) - 1:
        two = pieces[i : i + 2] == pair
        out.append("".join(pieces[i : i + 1 + two]))
        i += 1 + two
    return out


def joined_from_the_right(pieces, pair):
    turned = joined(
        tuple(piece[::-1] for piece in pieces[::-1]), tuple(p[::-1] for p in pair[::-1])
    )
    return tuple(piece[::-1] for piece in turned[::-1])


def leftmost(pieces, rank_of):
    for pair in pairwise(pieces):
        if pair in rank_of:
            return leftmost(joined(pieces, pair), rank_of)
    return pieces


def highest(pieces, rank_of):
    known = [pair for pair in pairwise(pieces) if pair in rank_of]
    return highest(joined(pieces, max(known, key=rank_of.get)), rank_of) if known else pieces


def one_merge(pieces, rank_of):
    known = [pair for pair in pairwise(pieces) if pair in rank_of]
    return joined(pieces, min(known, key=rank_of.get)) if known else pieces


def neighbours_of_the_start(pieces, rank_of):
    for pair in sorted(set(pairwise(pieces)) & set(rank_of), key=rank_of.get):
        pieces = joined(pieces, pair)
    return pieces


def no_guard(pieces, rank_of):
    while True:
        best = min(pairwise(pieces), key=lambda pair: rank_of.get(pair, math.inf))
        if best not in rank_of:
            return pieces
        pieces = joined(pieces, best)


def rules_used_up(pieces, rank_of):
    result = merged(pieces, rank_of)
    rank_of.pop(("e", "s"), None)
    return result


def symbols_only(ids, vocabulary):
    return "".join(vocabulary[i] for i in ids).replace("</w>", " ")


def one_by_one(ids, vocabulary):
    def text(token):
        raw = bytes(BYTE_OF_SYMBOL[symbol] for symbol in token.removesuffix("</w>"))
        return raw.decode(errors="replace") + " " * token.endswith("</w>")

    return "".join(text(vocabulary[i]) for i in ids).strip()


def run_together(ids, vocabulary):
    return text_of(ids, [token.removesuffix("</w>") for token in vocabulary])


def greedy(pieces, vocabulary):
    count, begin = 0, 0
    while begin < len(pieces):
        fits = [
            i for i in range(begin, len(pieces)) if "".join(pieces[begin : i + 1]) in vocabulary
        ]
        begin, count = fits[-1] + 1, count + 1
    return count


def greedy_from_the_right(pieces, vocabulary):
    count, stop = 0, len(pieces)
    while stop:
        stop = next(i for i in range(stop) if "".join(pieces[i:stop]) in vocabulary)
        count += 1
    return count


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("count_pairs", counted_once, "six times has each of its pairs"),
    ("count_pairs", counted_by_set, "Count each place"),
    ("count_pairs", counted_across, "crosses a word's border"),
    ("count_pairs", counted_by_twos, "step by two"),
    ("count_pairs", counted_unordered, "order of the two matters"),
    ("count_pairs", counted_symbols, "single symbols"),
    ("count_pairs", lambda w: {a + b: n for (a, b), n in counted(w).items()}, "as a tuple"),
    ("count_pairs", lambda w: counted(w).most_common(), "a Counter or dict"),
    ("count_pairs", lambda w: {two: n + (n > 8) for two, n in counted(w).items()}, "is right"),
    ("count_pairs", lambda w: {pieces: n for pieces, n in w.items()}, "neighbours in a word"),
    ("count_pairs", emptied, "have changed"),
    ("count_pairs", lambda w: ..., "still to be written"),
    ("join_pair", joined_once, "everywhere in the word"),
    ("join_pair", joined_and_kept, "go on behind it"),
    ("join_pair", joined_but_the_last, "last piece got lost"),
    ("join_pair", joined_from_the_right, "starts from the left"),
    ("join_pair", lambda p, two: " ".join(p).replace(" ".join(two), "".join(two)).split(),
     "Compare whole pieces"),
    ("join_pair", lambda p, two: p, "Nothing was joined"),
    ("join_pair", lambda p, two: "".join(joined(p, two)), "one string"),
    ("join_pair", lambda p, two: ("".join(two),), "Only the new piece"),
    ("join_pair", lambda p, two: [two if a == "".join(two) else a for a in joined(p, two)],
     "Glue the two strings"),
    ("join_pair", lambda p, two: set(joined(p, two)), "a tuple"),
    ("merge_word", leftmost, "the lowest rank of all pairs"),
    ("merge_word", highest, "HIGHEST"),
    ("merge_word", one_merge, "Go on until"),
    ("merge_word", neighbours_of_the_start, "new neighbours"),
    ("merge_word", no_guard, "no pair at all"),
    ("merge_word", rules_used_up, "table of ranks has changed"),
    ("merge_word", lambda p, rank_of: p, "Nothing was merged"),
    ("merge_word", lambda p, rank_of: "".join(merged(p, rank_of)), "one string"),
    ("merge_word", lambda p, rank_of: ("".join(p),), "is right"),
    ("frame_ids", lambda i, s, e, n: ([s, *i, e] + [0] * n)[:n], "lost its end token"),
    ("frame_ids", lambda i, s, e, n: [s, *i, e] + [0] * (n - 2 - len(i)), "stays too long"),
    ("frame_ids", lambda i, s, e, n: [s, *i, e][:n], "isn't filled up"),
    ("frame_ids", lambda i, s, e, n: [s, *i[: n - 2], *[e] * (n - 1 - len(i[: n - 2]))],
     "pad with the end token"),
    ("frame_ids", lambda i, s, e, n: [*([s, *i] + [0] * n)[: n - 1], e], "behind the padding"),
    ("frame_ids", lambda i, s, e, n: framed(i, s, e, n + 1)[1:], "start token is missing"),
    ("frame_ids", lambda i, s, e, n: framed(i, s, 0, n), "end token is missing"),
    ("frame_ids", lambda i, s, e, n: [0] * (n - 2 - len(i)) + [s, *i, e], "in front"),
    ("frame_ids", lambda i, s, e, n: framed(i[-(n - 2) :], s, e, n), "beginning of a long text"),
    ("frame_ids", lambda i, s, e, n: framed(i, s, e, n + (len(i) > n)), "one too long"),
    ("frame_ids", lambda i, s, e, n: framed(i[: n - 3], s, e, n), "One token too few"),
    ("frame_ids", lambda i, s, e, n: framed(i[: n - 3] if len(i) == 4 else i, s, e, n),
     "You cut one off"),
    ("frame_ids", lambda i, s, e, n: str(framed(i, s, e, n)), "a list of ids"),
    ("where_it_ends", lambda t, end: t.argmax(1), "largest id"),
    ("where_it_ends", lambda t, end: (t != 0).sum(1) - 1, "the last of them"),
    ("where_it_ends", lambda t, end: (t == end).int().argmax(1) + 1, "counts from 1"),
    ("where_it_ends", lambda t, end: torch.full((4,), t.shape[1] - 1), "always the last place"),
    ("where_it_ends", lambda t, end: (t == end).int().argmax(0), "(4,) was expected"),
    ("where_it_ends", lambda t, end: (t > end).int().argmax(1) * 0, "nothing stands out"),
    ("where_it_ends", lambda t, end: [row.index(end) for row in t.tolist()], "not a tensor"),
    ("to_text", symbols_only, "how three bytes are written down"),
    ("to_text", lambda i, v: "".join(v[k] for k in i), "Their marks"),
    ("to_text", run_together, "run together"),
    ("to_text", one_by_one, "Glue first, decode last"),
    ("to_text", lambda i, v: text_of(i, v, "ignore"), "something was there"),
    ("to_text", lambda i, v: text_of(i, v, "strict"), "UnicodeDecodeError"),
    ("to_text", lambda i, v: text_of(i, v) + " ", "left over at the end"),
    ("to_text", lambda i, v: " ".join(v[k].replace("</w>", "") for k in i), "after every token"),
    ("to_text", lambda i, v: text_of(i, v).encode(), "These are bytes"),
    ("fewest_tokens", greedy, "longest token from the left"),
    ("fewest_tokens", greedy_from_the_right, "longest token from the right"),
    ("fewest_tokens", lambda p, v: len(p), "single symbols"),
    ("fewest_tokens", lambda p, v: fewest(p, v) - 1, "is right"),
    ("fewest_tokens", lambda p, v: max(2, fewest(p, v)), "one token here"),
    ("fewest_tokens", lambda p, v: min(4, fewest(p, v)), "one too few"),
    ("fewest_tokens", lambda p, v: list(p), "not the tokens"),
]  # fmt: skip
