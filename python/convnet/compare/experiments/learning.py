"""How well each model learns: accuracy epoch by epoch, on the images it trains on and on held-out ones."""

from collections.abc import Iterator

from ..records import Learning
from ..study import Study


def measure(study: Study) -> Iterator[Learning]:
    for dataset, model in study.pairs():
        trained = study.trained(dataset, model)
        data = study.dataset(dataset)
        yield Learning(
            dataset=dataset,
            model=model.name,
            seed=study.seed,
            train_accuracy=trained.accuracy(data.x_train, data.y_train),
            test_accuracy=trained.accuracy(data.x_test, data.y_test),
            train_loss_curve=trained.train_loss,
            train_accuracy_curve=trained.train_accuracy,
            test_accuracy_curve=trained.test_accuracy,
            seconds=trained.seconds,
        )
