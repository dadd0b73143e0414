"""The compiled part: text in Arrow buffers to hashed features, and to probabilities.

Training and scoring read text with the same function, `_row`: what the model was fitted on is what it is applied to.
Text is read where it lies (Arrow string views), nothing is copied. Releases the GIL; holds no state between calls.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from routecost.classifier.characters import DIGIT, IGNORED, LETTER, MARK, NEWLINE, SINGLE, SPACE

__all__ = ["ACTIVE", "BITS", "BLOCKS", "EDGES", "SHAPE", "edge_names", "extract", "locate", "score", "trace"]

BITS = 19
# Bytes that are read of a prompt, and of the texts around it. A long prompt says what it wants at its ends: 512 and 256
# were no better on prompts that training had not seen, 1,024 and 512 neither.
HEAD, TAIL = 384, 128
AROUND = 256
# A follow-up of up to so many bytes is read together with the turn before it.
FOLLOW_UP = 120

# Blocks of features. Those of BODY, SYSTEM and PREVIOUS weigh 1 / sqrt(how many), times the block's weight
# (features.BLOCK_WEIGHT).
BODY, EDGES, SYSTEM, PREVIOUS = range(4)
BLOCKS = 4

SHAPE = (
    "length",
    "above_300",
    "above_1000",
    "above_3000",
    "above_6000",
    "above_12000",
    "lines",
    "indents",
    "statements",
    "numbers",
    "questions",
    "camel_case",
    "capitals",
    "digits",
    "symbols",
    "punctuation",
    "operators",
    "not_ascii",
)
# As many features as a row can have: three a byte, and the edges.
ACTIVE = 3 * (HEAD + TAIL) + 6 * AROUND + 64

_SLOTS = 4096
_LOG = np.log1p(np.arange(1024)) / 3
_COUNTS = 16
_CHARS, _CAPITALS, _CAMEL, _LINES, _QUESTIONS, _SYMBOLS, _PUNCTUATION, _OPERATORS = range(8)
_NOT_ASCII, _DIGITS, _INDENTS, _NUMBERS, _STATEMENTS = range(8, 13)

_U = np.uint64
_FNV_START, _FNV_PRIME = _U(14695981039346656037), _U(1099511628211)
_PAIR = _U(0x2545F4914F6CDD1D)
_HIGH, _SMALL = _U(0x8080808080808080), _U(0x2020202020202020)

# What a feature is of. Each kind hashes apart from the others.
_WORD, _WORDS, _STEM, _FIRST, _LAST, _LENGTH, _TOKENS, _MESSAGES, _INPUT, _TOOLS, _IN_SYSTEM = range(1, 12)
_FIRST_BY_LENGTH, _LAST_BY_LENGTH = 12, 13
_STEM_LETTERS = 4

# Without reference counting: arrays are only borrowed here, and counting them took half of the time.
_inner = njit(nogil=True, cache=True, _nrt=False)
_outer = njit(nogil=True, cache=True)


@intrinsic
def _byte(_context: Any, _address: Any) -> Any:
    """The byte at an address."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))

    return types.uint8(types.uint64), generate


@intrinsic
def _word32(_context: Any, _address: Any) -> Any:
    """The four bytes at an address, as a number."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()), align=1)

    return types.uint32(types.uint64), generate


@intrinsic
def _eight_bytes(_context: Any, _address: Any) -> Any:
    """The eight bytes at an address, as a number."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), align=1)

    return types.uint64(types.uint64), generate


@intrinsic
def _ones(_context: Any, _value: Any) -> Any:
    """How many bits are set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def _zeros(_context: Any, _value: Any) -> Any:
    """How many bits below the lowest that is set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@_inner
def _eight(start: Any, at: Any, stop: Any) -> Any:
    """The next eight bytes, zeros beyond the end: nothing after it is touched."""
    if at + 8 <= stop:
        return _eight_bytes(start + _U(at))
    value = _U(0)
    for k in range(stop - at):
        value |= _U(_byte(start + _U(at + k))) << _U(8 * k)
    return value


@_inner
def _letters(eight: Any) -> Any:
    """The high bit of each of eight bytes that is a letter of ASCII."""
    small = (eight | _SMALL) & ~_HIGH
    return (small + _U(0x1F1F1F1F1F1F1F1F)) & ~(small + _U(0x0505050505050505)) & ~eight & _HIGH


@_inner
def _slot(value: Any, kind: Any) -> Any:
    """The column of a feature: the upper bits of a product, as the lower ones depend on few characters."""
    h = value ^ (value >> _U(29)) ^ (_U(kind) * _U(0x9E3779B97F4A7C15))
    return np.uint32((h * _U(0xFF51AFD7ED558CCD)) >> _U(64 - BITS))


@_inner
def _add(index: Any, n: Any, slot: Any, spans: Any, begin: Any, end: Any) -> Any:
    """Append a feature; returns how many there are."""
    index[n] = slot
    if spans.shape[0] > 0:
        spans[n, 0] = begin
        spans[n, 1] = end
    return n + 1


@_inner
def _distinct(index: Any, begin: Any, end: Any, seen: Any, spans: Any) -> Any:
    """Keep each feature of index[begin:end] once; returns the new end.

    What was seen is kept as one mark for a group of columns: one in a hundred is left out for another's sake, in
    training as well. A loop of its own, as it would hold up the reading.
    """
    seen[:] = 0
    n = begin
    for k in range(begin, end):
        slot = index[k]
        at = slot & np.uint32(_SLOTS - 1)
        index[n] = slot
        if spans.shape[0] > 0:
            spans[n, 0] = spans[k, 0]
            spans[n, 1] = spans[k, 1]
        n += 1 - np.int64(seen[at])
        seen[at] = 1
    return n


@_inner
def _decode(start: Any, at: Any, stop: Any, lead: Any) -> Any:
    """The character that begins with the byte `lead` > 127, and its width; width 0 where it was cut off."""
    if lead < 192:
        return np.uint32(0), 0
    width = 2 if lead < 224 else (3 if lead < 240 else 4)
    if at + width > stop:
        return np.uint32(0), 0
    code = lead & np.uint32(0xFF >> (width + 1))
    for k in range(1, width):
        code = (code << np.uint32(6)) | np.uint32(_byte(start + _U(at + k)) & np.uint8(63))
    return code, width


@_inner
def _read(
    start: Any,
    length: Any,
    head: Any,
    tail: Any,
    system: Any,
    kind_of: Any,
    read_as: Any,
    index: Any,
    n: Any,
    seen: Any,
    spans: Any,
    counts: Any,
) -> Any:
    """Words, pairs of neighbours and stems of a text (words only if `system`), each once.

    Returns the number of features, of words, and the first three and the last two words.
    """
    first, second, third = _U(0), _U(0), _U(0)
    before, last = _U(0), _U(0)
    words = 0
    start_of_block = n
    chars, capitals, camel, breaks, questions, symbols, punctuation = 0, 0, 0, 0, 0, 0, 0
    operators, foreign, digits, indents, numbers, statements = 0, 0, 0, 0, 0, 0
    kind_of_word = _IN_SYSTEM if system else _WORD
    parts = 1 if length <= head + tail else 2
    for part in range(parts):
        at = np.int64(0) if part == 0 else length - tail
        stop = length if part == parts - 1 else head
        before, last = _U(0), _U(0)
        lines, spaces = 0, 0
        previous_begin = at
        ending = np.uint32(0)
        while at < stop:
            begin = at
            code = np.uint32(_byte(start + _U(at)))
            width = 1
            if code < 128:
                kind = np.int64(kind_of[code])
                plain = _U(read_as[code])
            else:
                code, width = _decode(start, at, stop, code)
                if width == 0:
                    at += 1
                    continue
                if code < 65536:
                    kind = np.int64(kind_of[code])
                    plain = _U(read_as[code])
                else:
                    kind = SINGLE if 0x20000 <= code < 0x32000 else MARK
                    plain = _U(code)
                foreign += 1
            chars += 1
            at += width
            if kind == SPACE:
                spaces += 4 if code == 9 else 1
                continue
            if kind == IGNORED:
                continue
            if kind == NEWLINE:
                if code != 13:
                    if ending == 59 or ending == 123 or ending == 125:
                        statements += 1
                    lines += 1
                    breaks += 1
                    spaces = 0
                continue

            size = 1
            stem = _U(0)
            if kind == LETTER:
                value, held, size = _FNV_START, _U(0), 0
                at = begin
                chars -= 1
                foreign -= code >= 128
                while True:
                    # eight bytes at once while they are plain letters
                    eight = _eight(start, at, stop)
                    letters = _letters(eight)
                    count = 8 if letters == _HIGH else _zeros(letters ^ _HIGH) >> 3
                    if count > 0:
                        inside = letters if count == 8 else letters & ((_U(1) << _U(8 * count)) - _U(1))
                        big = inside & ~(eight << _U(2))
                        if big != _U(0):
                            capitals += _ones(big)
                            camel += _ones(big & ((inside & (eight << _U(2))) << _U(8)))
                        small = eight | _SMALL
                        if count < 8:
                            small &= (_U(1) << _U(8 * count)) - _U(1)
                        shift = size & 7
                        if size < _STEM_LETTERS and size + count >= _STEM_LETTERS:
                            stem = (held | (small << _U(8 * shift))) & _U(0xFFFFFFFF)
                        held |= small << _U(8 * shift)
                        size += count
                        if shift + count >= 8:
                            value = (value ^ held) * _FNV_PRIME
                            held = small >> _U(8 * (8 - shift)) if shift > 0 else _U(0)
                        at += count
                        chars += count
                        if count == 8:
                            continue
                    if at >= stop:
                        break
                    code = np.uint32(_byte(start + _U(at)))
                    if code < 128:
                        if code != 39:
                            break
                        at += 1  # don't and dont are one word
                        chars += 1
                        continue
                    code, width = _decode(start, at, stop, code)
                    if width == 0:
                        at += 1
                        continue
                    if code >= 65536:
                        break
                    plain = _U(read_as[code])
                    other = np.int64(kind_of[code])
                    if other != LETTER:
                        if other != IGNORED and plain != _U(39):
                            break
                        at += width
                        continue
                    foreign += 1
                    at += width
                    chars += 1
                    shift = size & 7
                    held += plain << _U(8 * shift)
                    size += 1
                    if size == _STEM_LETTERS:
                        stem = held
                    if shift == 7:
                        value = (value ^ held) * _FNV_PRIME
                        held = _U(0)
                word = (value ^ held) * _FNV_PRIME
                ending = np.uint32(97)
            elif kind == DIGIT:
                while at < stop:
                    code = np.uint32(_byte(start + _U(at)))
                    if code >= 128 or kind_of[code] != DIGIT:
                        break
                    at += 1
                    size += 1
                chars += size - 1
                digits += size
                numbers += 1
                word = _U(1_000_003) * _U(min(size, 6))  # its length only, so that no number is learnt
                ending = np.uint32(48)
            elif kind == SINGLE:
                word = (_FNV_START ^ plain) * _FNV_PRIME
                ending = np.uint32(97)
            else:
                ending = code
                if code < 128:
                    while at < stop and np.uint32(_byte(start + _U(at))) == code:
                        at += 1
                        size += 1
                    chars += size - 1
                    if code == 63:
                        questions += 1
                    elif code == 46 or code == 44 or code == 58 or code == 33:
                        punctuation += size
                    elif code == 43 or code == 42 or code == 94 or code == 37 or code == 61:
                        operators += size
                    elif code != 39 and code != 34 and code != 45:
                        symbols += size
                elif code == 0x61F or code == 0xFF1F:
                    questions += 1
                word = (plain + _U(77_777)) * _U(31 + min(size, 3))

            if lines > 0:
                if spaces >= 2:
                    indents += 1
                if words > 0:  # line breaks between words are words; at the edges they are nothing
                    gap = _U(424_243) * _U(min(lines, 2))
                    n = _add(index, n, _slot(gap, kind_of_word), spans, begin, begin)
                    before, last = last, gap
                lines = 0
            spaces = 0
            n = _add(index, n, _slot(word, kind_of_word), spans, begin, at)
            if not system:
                if last != _U(0):
                    n = _add(index, n, _slot(last * _PAIR + word, _WORDS), spans, previous_begin, at)
                if size > _STEM_LETTERS and kind == LETTER:
                    n = _add(index, n, _slot(stem, _STEM), spans, begin, at)
            if words < 3:
                if words == 0:
                    first = word
                elif words == 1:
                    second = word
                else:
                    third = word
            words += 1
            before, last = last, word
            previous_begin = begin
    n = _distinct(index, start_of_block, n, seen, spans)
    if not system:
        counts[_CHARS], counts[_CAPITALS], counts[_CAMEL], counts[_LINES] = chars, capitals, camel, breaks
        counts[_QUESTIONS], counts[_SYMBOLS], counts[_PUNCTUATION] = questions, symbols, punctuation
        counts[_OPERATORS], counts[_NOT_ASCII], counts[_DIGITS] = operators, foreign, digits
        counts[_INDENTS], counts[_NUMBERS], counts[_STATEMENTS] = indents, numbers, statements
    return n, words, first, second, third, before, last


@_inner
def _row(
    row: Any,
    addresses: Any,
    lengths: Any,
    numbers: Any,
    kind_of: Any,
    read_as: Any,
    index: Any,
    ends: Any,
    seen: Any,
    spans: Any,
    counts: Any,
    shape: Any,
) -> Any:
    """The features of one request: index[: ends[-1]], divided at `ends` into blocks; `shape`. Returns the number of
    words in the prompt. addresses, lengths: (3, rows) of prompt, system, previous prompt; numbers: (3, rows) of
    messages, input tokens, tools; -1 where unknown."""
    counts[:] = 0
    length = lengths[0, row]
    n, words, first, second, third, before, last = _read(
        addresses[0, row], length, HEAD, TAIL, False, kind_of, read_as, index, 0, seen, spans, counts
    )
    ends[BODY] = n
    read = min(length, HEAD + TAIL)
    chars = max(counts[_CHARS], 1)
    characters = length * (chars / max(read, 1))
    level = math.log1p(characters)

    # the edges: how it begins and ends, and what is known besides the text
    if words > 0:
        n = _add(index, n, _slot(first, _FIRST), spans, 0, 0)
        n = _add(index, n, _slot(last, _LAST), spans, 0, 0)
        if words > 1:
            n = _add(index, n, _slot(first * _PAIR + second, _FIRST), spans, 0, 0)
            n = _add(index, n, _slot(before * _PAIR + last, _LAST), spans, 0, 0)
        if words > 2:
            begin = (first * _PAIR + second) * _PAIR + third
            n = _add(index, n, _slot(begin, _FIRST), spans, 0, 0)
        # "summarise" is one thing before a sentence and another before a contract
        size = _U(int(level * 1.5))
        n = _add(index, n, _slot(first * _PAIR + size, _FIRST_BY_LENGTH), spans, 0, 0)
        n = _add(index, n, _slot(last * _PAIR + size, _LAST_BY_LENGTH), spans, 0, 0)
    n = _add(index, n, _slot(_U(int(level * 3)), _LENGTH), spans, 0, 0)
    if length <= HEAD + TAIL:
        n = _add(index, n, _slot(_U(int(math.log1p(words) * 3)), _TOKENS), spans, 0, 0)
    if numbers[0, row] >= 0:
        n = _add(index, n, _slot(_U(min(numbers[0, row], 8)), _MESSAGES), spans, 0, 0)
    if numbers[1, row] >= 0:
        # tokens of history, documents and instructions beside the prompt itself
        beside = max(numbers[1, row] - characters / 4, 0.0)
        n = _add(index, n, _slot(_U(int(math.log1p(beside))), _INPUT), spans, 0, 0)
    if numbers[2, row] > 0:
        n = _add(index, n, _slot(_U(1), _TOOLS), spans, 0, 0)
    ends[EDGES] = n

    shape[0] = level / 3
    shape[1] = 1.0 if characters > 300 else 0.0
    shape[2] = 1.0 if characters > 1000 else 0.0
    shape[3] = 1.0 if characters > 3000 else 0.0
    shape[4] = 1.0 if characters > 6000 else 0.0
    shape[5] = 1.0 if characters > 12000 else 0.0
    shape[6] = _LOG[min(counts[_LINES], 1023)]
    shape[7] = _LOG[min(counts[_INDENTS], 1023)]
    shape[8] = _LOG[min(counts[_STATEMENTS], 1023)]
    shape[9] = _LOG[min(counts[_NUMBERS], 1023)]
    shape[10] = _LOG[min(counts[_QUESTIONS], 1023)]
    shape[11] = _LOG[min(counts[_CAMEL], 1023)]
    shape[12] = math.sqrt(counts[_CAPITALS] / (chars + 1))
    shape[13] = math.sqrt(counts[_DIGITS] / (chars + 1))
    shape[14] = math.sqrt(counts[_SYMBOLS] / (chars + 1))
    shape[15] = math.sqrt(counts[_PUNCTUATION] / (chars + 1))
    shape[16] = math.sqrt(counts[_OPERATORS] / (chars + 1))
    shape[17] = math.sqrt(counts[_NOT_ASCII] / (chars + 1))

    if lengths[1, row] > 0:
        n = _read(addresses[1, row], lengths[1, row], AROUND, 0, True, kind_of, read_as, index, n, seen, spans, counts)[
            0
        ]
    ends[SYSTEM] = n
    if 0 < length <= FOLLOW_UP and lengths[2, row] > 0:
        n = _read(
            addresses[2, row], lengths[2, row], AROUND, 0, False, kind_of, read_as, index, n, seen, spans, counts
        )[0]
    ends[PREVIOUS] = n
    return words


@_outer
def locate(views: Any, buffers: Any, valid: Any, begin: Any, addresses: Any, lengths: Any) -> None:
    """Address and length of strings begin.. of an Arrow string view array; length -1 where null.

    views: address of its 16-byte views; buffers: addresses of its data; valid: its validity bits, or empty.
    """
    for k in range(len(addresses)):
        i = begin + k
        if valid.shape[0] > 0 and not (valid[i >> 3] >> np.uint8(i & 7)) & np.uint8(1):
            addresses[k] = _U(0)
            lengths[k] = -1
            continue
        view = views + _U(16 * i)
        size = np.int64(_word32(view))
        lengths[k] = size
        if size <= 12:
            addresses[k] = view + _U(4)
        else:
            addresses[k] = buffers[_word32(view + _U(8))] + _U(_word32(view + _U(12)))


@_inner
def _sum(
    index: Any,
    ends: Any,
    shape: Any,
    weights: Any,
    scale: Any,
    shape_weights: Any,
    bias: Any,
    block_weight: Any,
    sums: Any,
    total: Any,
) -> None:
    """The scores of one request, by class."""
    classes = len(total)
    for c in range(classes):
        total[c] = bias[c]
    for k in range(len(SHAPE)):
        for c in range(classes):
            total[c] += shape[k] * shape_weights[k, c]
    begin = np.int64(0)
    for block in range(BLOCKS):
        end = ends[block]
        if end > begin:
            factor = block_weight[block]
            if block != EDGES:
                factor /= math.sqrt(end - begin)
            if classes == 4:  # the usual number, with its sums in registers
                s0, s1, s2, s3 = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
                for k in range(begin, end):
                    i = index[k]
                    s0 += weights[i, 0]
                    s1 += weights[i, 1]
                    s2 += weights[i, 2]
                    s3 += weights[i, 3]
                sums[0], sums[1], sums[2], sums[3] = s0, s1, s2, s3
            else:
                sums[:] = 0
                for k in range(begin, end):
                    for c in range(classes):
                        sums[c] += weights[index[k], c]
            for c in range(classes):
                total[c] += sums[c] * scale[c] * factor
        begin = end


@_inner
def _shares(total: Any, out: Any, row: Any) -> Any:
    """Scores to probabilities; returns the class with the highest, the first among equals."""
    top = 0
    for c in range(1, len(total)):
        if total[c] > total[top]:
            top = c
    peak = total[top]
    whole = 0.0
    for c in range(len(total)):
        total[c] = math.exp(total[c] - peak)
        whole += total[c]
    for c in range(len(total)):
        out[c, row] = total[c] / whole
    return top


@_outer
def score(
    addresses: Any,
    lengths: Any,
    numbers: Any,
    kind_of: Any,
    read_as: Any,
    weights: Any,
    scale: Any,
    shape_weights: Any,
    bias: Any,
    block_weight: Any,
    out: Any,
    best: Any,
) -> None:
    """Scores of every row: out (classes, rows) float64 probabilities; best (rows,) the class, -1 without text.

    weights: (2**BITS, classes) int16 in units of `scale` (classes,). Sums of whole numbers do not depend on their
    order, so a row has the same result in any batch.
    """
    classes = weights.shape[1]
    index = np.empty(ACTIVE, np.uint32)
    ends = np.zeros(BLOCKS, np.int64)
    seen = np.zeros(_SLOTS, np.uint8)
    spans = np.empty((0, 2), np.int64)
    counts = np.zeros(_COUNTS, np.int64)
    shape = np.zeros(len(SHAPE))
    total = np.zeros(classes)
    sums = np.zeros(classes, np.int64)
    for row in range(addresses.shape[1]):
        best[row] = -1
        if lengths[0, row] > 0 and _row(
            row, addresses, lengths, numbers, kind_of, read_as, index, ends, seen, spans, counts, shape
        ):
            _sum(index, ends, shape, weights, scale, shape_weights, bias, block_weight, sums, total)
            best[row] = _shares(total, out, row)


@_outer
def extract(
    addresses: Any,
    lengths: Any,
    numbers: Any,
    kind_of: Any,
    read_as: Any,
    block_weight: Any,
    starts: Any,
    columns: Any,
    values: Any,
    shapes: Any,
) -> Any:
    """The features of every row as a sparse matrix: starts (rows + 1,), columns and values; shapes (rows, SHAPE).

    With empty columns and values only `starts` is filled, so that they can be made.
    """
    index = np.empty(ACTIVE, np.uint32)
    ends = np.zeros(BLOCKS, np.int64)
    seen = np.zeros(_SLOTS, np.uint8)
    spans = np.empty((0, 2), np.int64)
    counts = np.zeros(_COUNTS, np.int64)
    n = 0
    for row in range(addresses.shape[1]):
        starts[row] = n
        if lengths[0, row] > 0:
            _row(row, addresses, lengths, numbers, kind_of, read_as, index, ends, seen, spans, counts, shapes[row])
            begin = np.int64(0)
            for block in range(BLOCKS):
                end = ends[block]
                if end > begin and columns.shape[0] > 0:
                    factor = block_weight[block]
                    if block != EDGES:
                        factor /= math.sqrt(end - begin)
                    for k in range(begin, end):
                        columns[n + k] = index[k]
                        values[n + k] = factor
                begin = end
            n += begin
    starts[addresses.shape[1]] = n
    return n


@_outer
def trace(
    addresses: Any,
    lengths: Any,
    numbers: Any,
    kind_of: Any,
    read_as: Any,
    index: Any,
    spans: Any,
    ends: Any,
    shape: Any,
) -> Any:
    """The features of one row, with the bytes of its text that each comes from (spans: (ACTIVE, 2))."""
    seen = np.zeros(_SLOTS, np.uint8)
    counts = np.zeros(_COUNTS, np.int64)
    return _row(0, addresses, lengths, numbers, kind_of, read_as, index, ends, seen, spans, counts, shape)


def edge_names(words: int, length: int, numbers: Any) -> list[str]:
    """What the features of the block EDGES are, in the order in which `_row` finds them."""
    names = ["(first word)", "(last word)"] if words else []
    names += ["(first two words)", "(last two words)"] if words > 1 else []
    names += ["(first three words)"] if words > 2 else []
    names += ["(first word at this length)", "(last word at this length)"] if words else []
    names += ["(length)"]
    names += ["(number of words)"] if length <= HEAD + TAIL else []
    names += ["(messages)"] if numbers[0] >= 0 else []
    names += ["(tokens besides the prompt)"] if numbers[1] >= 0 else []
    return names + (["(tools)"] if numbers[2] > 0 else [])
