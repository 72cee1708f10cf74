// What a second context on a second stream does to the graphs of a first.
#pragma once

#include <NvInferRuntime.h>

/// Prints, as an object a step, how long the graph of a first context takes after each thing that a second one needs.
void measure_second_stream(nvinfer1::ICudaEngine& engine, long batch, bool& first);
