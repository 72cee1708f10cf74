// Comparing outputs so that NaN, Inf, a wrong shape and a wrong count fail, and saying so in one table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ferry/layers.h"
#include "ferry/measure.h"
#include "ferry/tensor.h"

namespace ferry {

/// How far an output is from the reference. Rows are images, columns are classes.
struct Agreement {
  bool ok = false;            // every check passed; false if any number below is NaN
  std::string failure;        // the first check that failed, in words; empty if ok
  double relative_error = 0;  // ||out - ref||_2 / ||ref||_2 over everything
  double cosine = 0;          // smallest over the rows
  double max_abs_error = 0;
  double top1_agreement = 0;  // share of rows with the same arg max
  double top5_overlap = 0;    // mean share of the reference's five best classes that are in the output's five best
  std::int64_t images = 0;
};

struct Tolerance {
  double relative_error = 1e-3;
  double min_top1_agreement = 0;  // 0: reported, not judged (random inputs have ties within rounding)
};
/// fp32 2e-4, fp16 1e-2, int8 1.5e-1 (relative L2 of logits).
Tolerance tolerance_for(const std::string& precision);

/// NaN or Inf in either tensor fails first, then shape, type and count, then the tolerance.
Agreement compare_outputs(const TensorView& output, const TensorView& reference, const Tolerance& tolerance);

/// The best classes of each image, as a graph with top-k in it returns them (form.h).
struct TopKView {
  TensorView probabilities;  // float32 [N,K], best first
  TensorView classes;        // int32 [N,K]
  int of = 0;                // number of classes; 0: unknown
};
/// The same judgement for top-k outputs. Errors are taken between logarithms of probabilities, which differ as scores
/// do: `relative_error` is their root mean square over that of the reference's (at least log of the number of classes,
/// so that a certain answer is not judged by a logarithm near zero). A class that is not among the reference's best
/// fails unless it ties within the tolerance; so do classes out of range or twice, wrong order, and no probabilities.
Agreement compare_top_k(const TopKView& output, const TensorView& scores, const Tolerance& tolerance);
Agreement compare_top_k(const TopKView& output, const TopKView& reference, const Tolerance& tolerance);

/// What an engine reached on pictures (evaluate.h has the details). NaN: unknown, as top-1 without labels.
struct PictureAccuracy {
  std::int64_t images = 0;
  double top1 = 0, top5 = 0;
  double agreement = 0;  // share of pictures with the reference's best class
  double kl = 0;         // nats
  double relative_error = 0;
  std::string failure;  // NaN or an exception on a picture: no numbers then
};

struct ComparisonRow {
  std::string engine;   // display name with what matters: "TensorRT for RTX"
  std::string model;    // which of several models was run; empty where there is one
  std::string backend;  // "tensorrt_rtx"; "python" for peers
  std::string precision;
  std::string device, sdk_version;
  std::string device_kind;               // "cpu" or "gpu": speed-ups are given only within one kind
  std::int64_t device_memory_bytes = 0;  // EngineInfo's; 0: unknown, or none of its own
  Measurement measurement;
  Agreement agreement;
  double speedup = 0;  // against the baseline row of the same batch (median over median, same kind of timing); 0: none
  bool baseline = false;               // the reference backend in fp32; set by whoever makes the row
  std::optional<LayerProfile> layers;  // where it was asked for and the engine tells
  std::optional<PictureAccuracy> accuracy;
  std::string failure;  // engine could not be built, opened or run: the message; no numbers then
};

struct Comparison {
  std::string network, origin;  // "resnet101", "file.pth" or "random weights, seed 7"
  bool random_weights = false;
  std::string inputs;        // what the inputs were
  std::string machine_json;  // CPU, GPU, driver, versions, clocks
  std::string command;       // as typed
  std::string started_at;
  std::vector<ComparisonRow> rows;
  std::vector<std::string> notes;  // what was skipped and why
};

/// Fills `speedup` of every row: baseline over row, of the same batch and device kind; device compute against device
/// compute where both have it, else host to host against host to host. A row that failed or disagrees gets none. Where
/// the baseline ran on the CPU and a row on a GPU there is none either, and a note says why.
void set_speedups(Comparison& comparison);

/// True if every row that ran agrees with the reference (a row that could not run does not count).
bool all_agree(const Comparison& comparison);

/// docs/results.schema.json. {"machine":{...},"results":[...]}
std::string to_json(const Comparison& comparison);
/// The inverse of `to_json`, for reports over stored results. Throws Error(kReport) naming `path`.
Comparison comparison_from_json(const std::string& text, const std::string& path);
/// A table of at most 100 columns, then the notes, then the classic line.
std::string to_table(const Comparison& comparison, bool color);
/// "100 inferences at batch 1: PyTorch 0.54 s, TensorRT fp16 0.06 s, 9.0 times faster (...what is timed)": the baseline
/// against the fastest row that agrees, at the smallest batch. Empty without both.
std::string classic_line(const Comparison& comparison);

}  // namespace ferry
