"""What each model costs on paper: parameters, multiply-accumulates and activations, layer by layer."""

from collections.abc import Iterator

from ..records import Cost, LayerCost
from ..study import Study


def measure(study: Study) -> Iterator[Cost]:
    for dataset, model in study.pairs():
        network = study.untrained(dataset, model)
        summary = network.summary(study.dataset(dataset).image_shape)
        yield Cost(
            dataset=dataset,
            model=model.name,
            parameters=summary.parameters,
            macs=summary.macs,
            activation_bytes=summary.activation_bytes,
            layers=tuple(
                LayerCost(
                    name=type(layer).__name__,
                    output_shape=row.output_shape[1:],
                    parameters=row.parameters,
                    macs=row.macs,
                    activation_bytes=row.activation_bytes,
                )
                for layer, row in zip(network, summary.rows, strict=True)
            ),
        )
