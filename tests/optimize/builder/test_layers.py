"""What a builder's log tells of the precision of convolutions."""

from __future__ import annotations

from edgevid.optimize.builder.engine import convolution_types, kernels, tally


def test_the_account_of_kernels_is_read() -> None:
    """Shapes shortened from what TensorRT-RTX 1.7 logs of a quantized convolution and its neighbors."""
    message = (
        "Engine Layer Information:\n"
        "Name: __myl_Roun_myl0_1, LayerType: kgen, Inputs: [ { Name: x, Datatype: Float } ], Constants: [], "
        "Outputs: [ { Name: q, Datatype: Int8 } ], StreamId: 0, "
        "Metadata: [ONNX Layer: Conv_1][ONNX Layer: Quant_1]\n"
        "Name: Conv_1_myl0_4, LayerType: correlation, Inputs: [ { Name: q, Datatype: Int8 } ], "
        "Constants: [ { Name: w, Datatype: Int8 }, { Name: s, Datatype: Float } ], "
        "Outputs: [ { Name: y, Datatype: Float } ], StreamId: 0, Metadata: [ONNX Layer: Conv_1]\n"
        "Name: __myl_CorrSilu_2, LayerType: runtime_fusion, Inputs: [ { Name: y, Datatype: Half } ], "
        "Outputs: [ { Name: z, Datatype: Half } ], Metadata: [ONNX Layer: Conv_2][ONNX Layer: Sigmoid_3]\n"
        "Name: wait, LayerType: wait, Inputs: [], Constants: [], Outputs: [], Metadata: \n"
    )
    found = kernels(["chatter", message])
    types = convolution_types(found, ["Conv_1", "Conv_2", "Conv_9"])
    assert types == {"Conv_1": "Int8", "Conv_2": "Half", "Conv_9": "?"}
    assert tally(types) == {"Int8": 1, "Half": 1, "?": 1}


def test_the_log_is_read_the_same_for_a_kernel_that_is_named_twice() -> None:
    """Only kernels that do the products count; two of them that differ are not guessed about."""
    line = (
        "Name: Conv_{}_myl0, LayerType: correlation, Inputs: [ {{ Datatype: {} }} ], Outputs: [], "
        "Metadata: [ONNX Layer: c]"
    )
    one = kernels([line.format(1, "Half")])
    two = kernels([line.format(1, "Half") + "\n" + line.format(2, "Float")])
    assert convolution_types(one, ["c"]) == {"c": "Half"}
    assert convolution_types(two, ["c"]) == {"c": "?"}


def test_kernels_that_do_no_products_count_only_alone() -> None:
    """A layer fused into one kernel is computed there; of two kernels none is known to do the products."""
    line = "Name: myl{}, LayerType: kgen, Inputs: [ {{ Datatype: {} }} ], Outputs: [], Metadata: [ONNX Layer: c]"
    one, two = line.format(1, "Half"), line.format(2, "Half")
    assert convolution_types(kernels([one]), ["c"]) == {"c": "Half"}
    assert convolution_types(kernels([one, two]), ["c"]) == {"c": "?"}
