"""Tables for the tests of the command line."""

import csv
import io


def export(name, path, target="target"):
    """Write a dataset of scikit-learn as CSV, with the names of its classes."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    labels = bunch.target_names[bunch.target] if "target_names" in bunch else bunch.target
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*bunch.feature_names, target])
        writer.writerows(
            [*row, label] for row, label in zip(bunch.data.tolist(), labels.tolist(), strict=True)
        )


def table(text):
    """Header and rows of CSV text."""
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows
