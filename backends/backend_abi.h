/* The interface between ferry and a backend module (libferry_<name>.so): C, versioned, narrow.
 *
 * A module exports one function, `ferry_backend`, which returns a table of functions. Modules are loaded RTLD_LOCAL; no
 * exception, no C++ type and no allocation crosses this line: text and bytes go through sinks, handles go back to the
 * module that made them. Structured text is JSON (UTF-8) so that it can grow without a new ABI number; the keys are
 * listed with each entry. Element types are ONNX's TensorProto.DataType numbers.
 *
 * Threads: an engine may be used from several threads; a session from one thread at a time. `last_error` is per thread.
 */
#ifndef FERRY_BACKEND_ABI_H
#define FERRY_BACKEND_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FERRY_BACKEND_ABI 2u
#define FERRY_BACKEND_SYMBOL "ferry_backend"
#define FERRY_MAX_RANK 8

typedef struct ferry_engine ferry_engine;   /* weights, or a plan, on one device */
typedef struct ferry_session ferry_session; /* what one stream of requests needs: context, buffers, stream, graphs */

typedef enum ferry_status {
  FERRY_OK = 0,
  FERRY_FAILED = 1,      /* see last_error */
  FERRY_CANCELLED = 2,   /* the progress callback asked to stop */
  FERRY_UNSUPPORTED = 3, /* this machine or this model cannot do it; last_error says why and what to do */
} ferry_status;

/* Receives bytes; called one or more times during the call it was given to. A non-zero return (disk full) makes the
 * entry fail. */
typedef struct ferry_sink {
  int (*write)(void* user, const void* data, size_t size);
  void* user;
} ferry_sink;

/* Log lines of the SDK. severity: 0 error, 1 warning, 2 info, 3 verbose. May be called from any thread. */
typedef struct ferry_log {
  void (*line)(void* user, int severity, const char* text);
  void* user;
} ferry_log;

/* Progress of long work: `done` of `total` steps of a named phase (total 0: unknown). Return 0 to go on, anything else
 * to cancel as soon as possible. May be called from any thread. */
typedef struct ferry_progress {
  int (*step)(void* user, const char* phase, int64_t done, int64_t total);
  void* user;
} ferry_progress;

typedef struct ferry_tensor {
  const char* name;
  int32_t dtype;
  int32_t rank;
  int64_t shape[FERRY_MAX_RANK];
  const void* data; /* host, row-major, no gaps; owned by the caller for the length of the call */
} ferry_tensor;

typedef struct ferry_build_args {
  uint32_t struct_size;
  const void* onnx; /* a serialised ModelProto with all its weights inside */
  size_t onnx_size;
  /* {"profiles":[{"min":1,"opt":8,"max":64},...], "target":"8.9"|null, "workspace_bytes":N|null,
   * "optimization_level":0-5|null, "tf32":false, "device":0}, and where asked for "tactics":["jit_convolutions",...],
   * "aux_streams":N, "timing_runs":N, "weight_streaming":true (the plan's weights may stay in host memory, see open);
   * unknown keys are an error naming the key */
  const char* options_json;
  const void* timing_cache; /* may be NULL; a foreign one is ignored with a warning */
  size_t timing_cache_size;
  ferry_progress progress;
  ferry_log log;
  ferry_sink plan;             /* gets exactly what the SDK serialised */
  ferry_sink timing_cache_out; /* may have write == NULL */
  /* {"sdk":"TensorRT for
   * RTX","sdk_version":"1.7.1.116","gpu":"..."|null,"compute_capability":"8.9"|null,"driver":"..."|null,
   *  "seconds":1.1,"workspace_bytes":N,"profiles":[...],"streamable_weights_bytes":N (where it was built for it and its
   *  GPU is here),"precision_proof":{see io}|null,"precision_proof_note":"..."}
   */
  ferry_sink report_json;
} ferry_build_args;

typedef struct ferry_open_args {
  uint32_t struct_size;
  /* Exactly one of the three, by what `describe` says the module opens: */
  const void* plan; /* "plan": what `build` wrote */
  size_t plan_size;
  const void* onnx; /* "onnx" */
  size_t onnx_size;
  const ferry_tensor* weights; /* "weights": float32 under torchvision's names, and the architecture as JSON: */
  size_t weights_count;
  /* {"block":"basic"|"bottleneck","depths":[4],"planes":[4],"widths":[4],"groups":1,"stem_channels":64,"input_channels":3,
   *  "num_classes":1000} */
  const char* architecture_json;
  /* {"device":0,"precision":"fp32","threads":0,"graphs":true,"layer_info":false} to every module, and to some, where
   * they say something: "prefer_cpu":true (modules of kind "gpu+cpu"), "capture":true (eager modules: replay a CUDA
   * graph), "height":224,"width":224 (with weights), "proof":false (with a plan: `io` need not
   * count layers); GPU modules with pinned staging: "copy_threads":N, "block":true
   * (wait without spinning), "quick":false (small requests are copied as large ones), "persistent_l2_bytes":N; to those
   * that build for weight streaming: "weight_budget_bytes":N (of weights, on the device; the others cross the bus in
   * every run), an error with a plan that was not built for it. Unknown keys are an error naming the key */
  const char* options_json;
  ferry_log log; /* valid until `close`: a session may still have a warning (a CUDA graph that was refused) */
} ferry_open_args;

/* Milliseconds of one run; NaN where the module cannot measure it. h2d, compute and d2h are device times between events
 * on the session's stream (on a CPU: compute is the wall time of the inference call, h2d and d2h are 0). */
typedef struct ferry_times {
  double enqueue_ms; /* host time spent in submit */
  double h2d_ms;
  double compute_ms;
  double d2h_ms;
} ferry_times;

#define FERRY_RUN_RESIDENT \
  1u /* no copies: inputs are those of the last run at this batch, outputs stay on the device */
#define FERRY_RUN_FETCH \
  2u /* with FERRY_RUN_RESIDENT: outputs are copied to the host after all, so that a timed run can be checked */

typedef struct ferry_run_args {
  uint32_t struct_size;
  int64_t batch;
  const void* const* inputs; /* host, one per input, row-major; a pointer from `staging` is used in place */
  void* const* outputs;      /* host, one per output; valid until `wait` returns */
  uint32_t flags;
} ferry_run_args;

/* A picture of 8-bit RGB pixels in image staging, and what is to be made of it: resized to resized_width x
 * resized_height (Pillow's antialiased bilinear filter with its fixed-point arithmetic, width before height), then the
 * engine's square window of it from (crop_left, crop_top) on, black outside, then (v / 255 - mean) / std. Only the part
 * of the picture that this reads need be in memory. A side may shrink by at most FERRY_IMAGES_MOST_SHRINK. */
#define FERRY_IMAGES_MOST_SHRINK 8
typedef struct ferry_image {
  uint64_t offset; /* of the part's first pixel from the beginning of image staging */
  int32_t stride;  /* bytes from row to row; a multiple of 4 */
  int32_t width, height;
  int32_t part_left, part_top, part_width, part_height;
  int32_t resized_width, resized_height;
  int32_t crop_left, crop_top;
} ferry_image;

typedef struct ferry_images_args {
  uint32_t struct_size;
  int64_t batch;
  const ferry_image* images; /* `batch` of them */
  uint64_t used;             /* bytes of image staging that hold pictures: copied at once */
  float mean[3], std[3];     /* of an input of type uint8: ignored, pixels go in as they are */
  void* const* outputs;      /* as in ferry_run_args */
} ferry_images_args;

/* State of the device now; NaN where unknown. */
typedef struct ferry_telemetry {
  double sm_clock_mhz, memory_clock_mhz, temperature_c, power_w, memory_used_bytes, memory_total_bytes;
  uint64_t throttle_reasons; /* NVML's bits; 0 also where unknown */
} ferry_telemetry;

typedef struct ferry_failure {
  const char* subject; /* node, tensor, library; "" if none. All valid until this thread's next call */
  const char* cause;
  const char* hint;
} ferry_failure;

typedef struct ferry_backend_api {
  uint32_t abi; /* FERRY_BACKEND_ABI */
  uint32_t struct_size;

  /* What the module is, whatever the machine: {"name":"tensorrt_rtx","display_name":"TensorRT for
   * RTX","opens":["plan"],
   * "builds":true,"kind":"gpu"|"cpu"|"gpu+cpu","reference":false,"precisions":["fp32","fp16"],"compiled_against":"1.7.1",
   * "max_batch":8 (where no engine of this module takes more)}
   */
  ferry_status (*describe)(ferry_sink json);

  /* What it can do here: {"usable":bool,"reason":"...","remedy":"exact
   * command","can_build":bool,"library":"path","version":"1.7.1.116",
   * "devices":[{"index":0,"name":"...","compute_capability":"9.0","memory_bytes":N,"driver":"580.159.04","cuda":"13.0"}]}.
   * Never fails for a missing library or GPU: that is what it reports. */
  ferry_status (*supported)(ferry_sink json);

  ferry_status (*build)(const ferry_build_args* args); /* optional (NULL) */

  ferry_status (*open)(const ferry_open_args* args, ferry_engine** engine);

  /* {"inputs":[{"name":"input","dtype":1,"shape":[-1,3,224,224]}],"outputs":[...],"profiles":[{"min":1,"opt":8,"max":64}],
   *  "max_batch":64|null,"device":{"kind":"gpu"|"cpu","name":"...","compute_capability":"9.0","driver":"..."},"sdk_version":"...",
   *  "device_memory_bytes":N,"resident":true|false (submit takes FERRY_RUN_RESIDENT; absent: true on a GPU),
   *  "images":true|false (submit_images works; absent: false),
   *  "weight_streaming":{"streamable_bytes":N,"budget_bytes":N} (with a plan built for it; else absent or null),
   *  "precision_proof":{"layers":N,"by_type":{"Half":104,...}}|null} */
  ferry_status (*io)(ferry_engine* engine, ferry_sink json);

  ferry_status (*open_session)(ferry_engine* engine, ferry_session** session);

  /* Host staging memory of the session for one batch size (pinned on a GPU): inputs[i], outputs[i] get pointers that
   * stay valid until the session closes or `staging` is called with a larger batch. */
  ferry_status (*staging)(ferry_session* session, int64_t batch, void** inputs, void** outputs);

  /* Starts one request; a CPU module may do all the work here. One request at a time per session. */
  ferry_status (*submit)(ferry_session* session, const ferry_run_args* args);
  /* Ends the request: outputs are in the host memory given to submit. `times` may be NULL. */
  ferry_status (*wait)(ferry_session* session, ferry_times* times);

  void (*close_session)(ferry_session* session);
  void (*close)(ferry_engine* engine);

  ferry_status (*telemetry)(ferry_engine* engine, ferry_telemetry* now); /* optional (NULL, or FERRY_UNSUPPORTED) */

  void (*last_error)(ferry_failure* failure);

  /* Optional (NULL, or FERRY_UNSUPPORTED): times each layer in `runs` runs at this batch, on the inputs of the
   * session's last run at it; nothing may be in flight. Layers in order of execution, null for what the SDK does not
   * tell:
   * {"batch":N,"runs":N,"layers":[{"name":"...","kind":"CaskConvolution","kernel":"..."|null,"precision":"Half"|null,
   *  "ms":0.012 (median),"flops":N|null,"bytes":N|null (weights, inputs, outputs)}],
   *  "peaks":{"flops_per_second":{"Half":N,...},"bytes_per_second":N|null}|null} */
  ferry_status (*profile)(ferry_session* session, int64_t batch, int32_t runs, ferry_sink json);

  /* Both optional (NULL, or "images" false in `io`). Pinned host memory for pictures, valid until the session closes or
   * this is called with a larger size; not while a request is in flight. */
  ferry_status (*image_staging)(ferry_session* session, uint64_t size, void** memory);
  /* As `submit`, for an engine whose only input is a batch of square pictures: they cross to the device as pixels and
   * are prepared there. In `ferry_times`, h2d holds the copy and the preparation. */
  ferry_status (*submit_images)(ferry_session* session, const ferry_images_args* args);
} ferry_backend_api;

/* `host_abi`: the caller's FERRY_BACKEND_ABI. Returns the table even on a mismatch; the caller compares. */
typedef const ferry_backend_api* (*ferry_backend_fn)(uint32_t host_abi);

#ifdef __cplusplus
}
#endif
#endif
