# `retinanet serve` on a CPU, without torch:
#   docker build -t retinanet-serve .
#   docker run -p 8000:8000 -e MLFLOW_TRACKING_URI=http://mlflow:5000 retinanet-serve
# or, with a file: docker run -p 8000:8000 -v ./models/export:/models:ro retinanet-serve --model /models/model.onnx
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY retinanet retinanet
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir '.[serve,openvino]'

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 retinanet
COPY --from=build /opt/venv /opt/venv
USER 1000
WORKDIR /home/retinanet
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["/opt/venv/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["/opt/venv/bin/retinanet", "serve", "--host", "0.0.0.0"]
CMD ["--model", "models:/retinanet@production"]
