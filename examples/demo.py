"""The main job on real text, start to end: `make demo`.

Gets 10,568 movie-review snippets, trains a classifier on nine tenths of them, evaluates it on the
rest beside a TF-IDF + logistic regression, draws the pictures, and classifies two sentences.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from carryline import TextClassifier
from carryline.evaluation.baseline import baseline
from carryline.evaluation.metrics import table
from carryline.text.data import Dataset, Label, split
from carryline.text.examples import targets_of

HERE = Path(__file__).resolve().parent
SENTENCES = (
    "a warm, funny film that earns every one of its tears",
    "two hours of my life that i will never get back",
)


def get_reviews(folder: Path) -> Path:
    """The snippets' file, taken from the source package of vaderSentiment (MIT) on PyPI.

    pip checks the package's SHA-256 against demo-data.txt.
    """
    file = folder / "movieReviewSnippets_GroundTruth.txt"
    if file.exists():
        return file
    print("getting the movie-review snippets that ship inside vaderSentiment 3.3.2 ...")
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", str(folder)]
    subprocess.run([*pip, *options, "-r", str(HERE / "demo-data.txt")], check=True)
    package = next(folder.glob("*3.3.2.tar.gz"))
    with tarfile.open(package) as outer:
        inner = outer.extractfile(_member(outer, "hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=inner) as archive:
            content = archive.extractfile(_member(archive, file.name))
            assert content is not None
            file.write_bytes(content.read())
    return file


def _member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    return next(m for m in archive.getmembers() if m.name.endswith(name))


def read_reviews(file: Path) -> Dataset:
    """Lines of id, mean rating of twenty people, text; the label is the rating's sign."""
    texts, labels = [], []
    for line in file.read_text(encoding="utf-8").splitlines():
        _, rating, text = line.split("\t", 2)
        if float(rating) != 0:
            texts.append(text)
            labels.append("positive" if float(rating) > 0 else "negative")
    return Dataset(texts, list(labels))


def linear_accuracy(train: Dataset, held: Dataset, classes: list[Label]) -> float:
    """Accuracy of TF-IDF (words and pairs) + logistic regression on the same split."""
    assert train.labels is not None
    assert held.labels is not None
    targets, held_targets = targets_of(train.labels, classes), targets_of(held.labels, classes)
    found = baseline(train.texts, targets, held.texts, held_targets, classes)
    return float(found["linear"]["accuracy"])


def choose(reviews: Dataset, rows: list[int]) -> Dataset:
    assert reviews.labels is not None
    return Dataset([reviews.texts[i] for i in rows], [reviews.labels[i] for i in rows])


def own_sentences() -> list[str]:
    """Two sentences from the person at the terminal; suggestions where nobody is asked."""
    if not sys.stdin.isatty():
        return list(SENTENCES)
    print("\nTwo sentences of your own (Enter takes the suggestion):")
    return [input(f"  [{suggestion}] ").strip() or suggestion for suggestion in SENTENCES]


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentences", nargs="*", help="sentences to classify at the end")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "runs" / "demo")
    parser.add_argument("--epochs", type=int, default=None)
    options = parser.parse_args()

    reviews = read_reviews(get_reviews(options.folder / "data"))
    assert reviews.labels is not None
    train_rows, held_rows = split(reviews.labels, 0.1, seed=0)
    train, held = choose(reviews, list(train_rows)), choose(reviews, list(held_rows))
    assert train.labels is not None
    assert held.labels is not None
    print(f"{len(reviews.texts):,} snippets; {len(train.texts):,} to train on, "
          f"{len(held.texts):,} held out")  # fmt: skip

    overrides = {"epochs": options.epochs} if options.epochs else {}
    classifier = TextClassifier(**overrides)
    classifier.fit(train.texts, train.labels, valid=0.1, verbose=True)
    model = options.folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    classifier.save(model)

    metrics = classifier.evaluate(held.texts, held.labels)
    print(f"\nOn the {len(held.texts):,} snippets held out:\n{table(metrics)}")
    linear = linear_accuracy(train, held, classifier.classes)
    print(f"\naccuracy of this model                 {metrics['accuracy']:.4f}")
    print(f"TF-IDF + logistic regression, the same {linear:.4f}\n")

    sentences = options.sentences or own_sentences()
    for sentence, chances in zip(sentences, classifier.predict_proba(sentences), strict=True):
        best = int(chances.argmax())
        print(f"{classifier.classes[best]!s:>8}  {chances[best]:.3f}  {sentence}")

    model = Path(os.path.relpath(model))
    print(f"\nThe model lies in {model}; its curves and confusion matrix are")
    print(f"  {model / 'plots' / 'history.png'}\n  {model / 'plots' / 'confusion.png'}")
    print(f'\nNext:\n  .venv/bin/carryline predict {model} "your sentence"')
    print("  .venv/bin/carryline train YOUR.csv --text review --label sentiment --out runs/mine")
    print("  make serve    # see it decide while you type, at http://127.0.0.1:8000")


if __name__ == "__main__":
    main()
