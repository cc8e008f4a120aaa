/* src/onnx/schema.h: the field numbers of the ONNX messages that are written and read here
 * (onnx.proto of the ONNX specification), and what belongs to an opset. */
#ifndef OM_ONNX_SCHEMA_H
#define OM_ONNX_SCHEMA_H

/* Both sides move raw_data as it lies in memory, and the format is little-endian. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the ONNX writer and reader need a little-endian machine"
#endif

enum {
    PB_MODEL_IR_VERSION = 1,
    PB_MODEL_PRODUCER_NAME = 2,
    PB_MODEL_PRODUCER_VERSION = 3,
    PB_MODEL_GRAPH = 7,
    PB_MODEL_OPSET_IMPORT = 8,
    PB_MODEL_FUNCTIONS = 25,
};

enum { PB_OPSET_DOMAIN = 1, PB_OPSET_VERSION = 2 };

enum {
    PB_GRAPH_NODE = 1,
    PB_GRAPH_NAME = 2,
    PB_GRAPH_INITIALIZER = 5,
    PB_GRAPH_INPUT = 11,
    PB_GRAPH_OUTPUT = 12,
    PB_GRAPH_VALUE_INFO = 13,
    PB_GRAPH_SPARSE_INITIALIZER = 15,
};

enum {
    PB_NODE_INPUT = 1,
    PB_NODE_OUTPUT = 2,
    PB_NODE_NAME = 3,
    PB_NODE_OP_TYPE = 4,
    PB_NODE_ATTRIBUTE = 5,
    PB_NODE_DOMAIN = 7,
    PB_NODE_OVERLOAD = 8,
};

enum {
    PB_FUNCTION_NAME = 1,
    PB_FUNCTION_INPUT = 4,
    PB_FUNCTION_OUTPUT = 5,
    PB_FUNCTION_NODE = 7,
    PB_FUNCTION_OPSET_IMPORT = 9,
    PB_FUNCTION_DOMAIN = 10,
    PB_FUNCTION_DEFAULT = 11,
    PB_FUNCTION_OVERLOAD = 13,
};

enum {
    PB_ATTR_NAME = 1,
    PB_ATTR_F = 2,
    PB_ATTR_I = 3,
    PB_ATTR_S = 4,
    PB_ATTR_T = 5,
    PB_ATTR_G = 6,
    PB_ATTR_FLOATS = 7,
    PB_ATTR_INTS = 8,
    PB_ATTR_STRINGS = 9,
    PB_ATTR_GRAPHS = 11,
    PB_ATTR_TYPE = 20,
    PB_ATTR_REF = 21,
};

/* AttributeProto.AttributeType */
enum {
    PB_TYPE_FLOAT = 1,
    PB_TYPE_INT = 2,
    PB_TYPE_STRING = 3,
    PB_TYPE_TENSOR = 4,
    PB_TYPE_GRAPH = 5,
    PB_TYPE_FLOATS = 6,
    PB_TYPE_INTS = 7,
    PB_TYPE_GRAPHS = 10,
};

enum {
    PB_TENSOR_DIMS = 1,
    PB_TENSOR_DATA_TYPE = 2,
    PB_TENSOR_SEGMENT = 3,
    PB_TENSOR_FLOAT_DATA = 4,
    PB_TENSOR_INT32_DATA = 5,
    PB_TENSOR_STRING_DATA = 6,
    PB_TENSOR_INT64_DATA = 7,
    PB_TENSOR_NAME = 8,
    PB_TENSOR_RAW_DATA = 9,
    PB_TENSOR_DOUBLE_DATA = 10,
    PB_TENSOR_UINT64_DATA = 11,
    PB_TENSOR_EXTERNAL_DATA = 13,
    PB_TENSOR_DATA_LOCATION = 14,
};

enum { PB_LOCATION_DEFAULT = 0, PB_LOCATION_EXTERNAL = 1 };

enum { PB_ENTRY_KEY = 1, PB_ENTRY_VALUE = 2 };

enum { PB_VALUE_NAME = 1, PB_VALUE_TYPE = 2 };
enum { PB_TYPE_TENSOR_TYPE = 1 };
enum { PB_TENSOR_TYPE_ELEM = 1, PB_TENSOR_TYPE_SHAPE = 2 };
enum { PB_SHAPE_DIM = 1 };
enum { PB_DIM_VALUE = 1, PB_DIM_PARAM = 2 };

/* The operator sets of the default domain that can be written and read. */
#define OM_ONNX_OPSET_MIN 13
#define OM_ONNX_OPSET_MAX 24

/* Protobuf's own limit for one message, and so for one file. */
#define OM_ONNX_FILE_MAX INT64_C(0x7fffffff)

#endif
