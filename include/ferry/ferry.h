// Everything a program that embeds ferry needs.
#pragma once

#include "ferry/backend.h"
#include "ferry/checkpoint.h"
#include "ferry/compare.h"
#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/evaluate.h"
#include "ferry/fetch.h"
#include "ferry/files.h"
#include "ferry/image.h"
#include "ferry/image_set.h"
#include "ferry/measure.h"
#include "ferry/onnx.h"
#include "ferry/pipeline.h"
#include "ferry/report.h"
#include "ferry/resnet.h"
#include "ferry/tensor.h"
