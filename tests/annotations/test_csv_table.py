import pytest
from support.prepare_workspace import save_images, write_csv

from retinanet.annotations.csv_table import find_csv_files, read_csv_source
from retinanet.annotations.files import SourceFiles
from retinanet.errors import AnnotationError

OBJECTS = {"a.png": [("cat", (1, 2, 30, 40)), ("dog", (0, 0, 64, 48))], "b.png": []}


def read(root, text: str, name: str = "boxes.csv", column: str = ""):
    save_images(root, {"a.png": [], "b.png": []})
    (root / name).write_text(text, encoding="utf-8")
    return read_csv_source(SourceFiles(root), column)


def test_rows_without_a_header(tmp_path):
    write_csv(tmp_path, OBJECTS)
    found = read_csv_source(SourceFiles(tmp_path))
    assert [[(box.class_name, box.xyxy) for box in p.boxes] for p in found.images] == list(OBJECTS.values())
    assert found.skipped == []


@pytest.mark.parametrize("header", ["path,x1,y1,x2,y2,class", "image_path,xmin,ymin,xmax,ymax,label"])
def test_header_names_are_recognized(tmp_path, header):
    write_csv(tmp_path, OBJECTS, header)
    found = read_csv_source(SourceFiles(tmp_path))
    assert [[(box.class_name, box.xyxy) for box in p.boxes] for p in found.images] == list(OBJECTS.values())


def test_columns_in_another_order_with_split_and_group(tmp_path):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax,Split,patient\na.png,64,48,cat,1,2,3,4,valid,p7\n"
    (image,) = read(tmp_path, text, column="patient").images
    assert (image.split, image.group, image.boxes[0].xyxy) == ("val", "p7", (1, 2, 3, 4))


def test_names_of_several_tables_give_the_splits(tmp_path):
    save_images(tmp_path, {"a.png": [], "b.png": []})
    (tmp_path / "my_train.csv").write_text("a.png,1,2,3,4,cat\n")
    (tmp_path / "my-val.csv").write_text("b.png,1,2,3,4,cat\n")
    found = read_csv_source(SourceFiles(tmp_path))
    assert [image.split for image in found.images] == ["train", "val"]


def test_an_image_in_two_splits_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("a.png,1,2,3,4,cat\n")
    with pytest.raises(AnnotationError, match=r"val\.csv: line 1 has 'a\.png' in split val .*an earlier row in train"):
        read(tmp_path, "a.png,1,2,3,4,cat\n", "val.csv")


def test_classes_csv_declares_the_allowed_classes(tmp_path):
    (tmp_path / "classes.csv").write_text("dog,1\ncat,0\n")
    assert read(tmp_path, "a.png,1,2,3,4,cat\n").class_names == ["cat", "dog"]
    with pytest.raises(AnnotationError, match=r"boxes\.csv: line 1 has class 'cow'; classes\.csv declares cat, dog"):
        read(tmp_path, "a.png,1,2,3,4,cow\n")


def test_a_missing_image_is_skipped_once(tmp_path):
    found = read(tmp_path, "a.png,1,2,3,4,cat\ngone.png,1,2,3,4,cat\ngone.png,5,6,7,8,cat\n")
    assert [one.file for one in found.skipped] == ["gone.png"]


def test_paths_with_commas_quotes_and_newlines_are_read(tmp_path):
    save_images(tmp_path, {'x, "y"\nz\u2028.png': []})
    (image,) = read(tmp_path, '"x, ""y""\nz\u2028.png",1,2,3,4,cat\n').images
    assert image.file.name == 'x, "y"\nz\u2028.png'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,1,2,3,4,cat\na.png,1,2,3,cat\n", "line 2 has 5 cells; the table has 6"),
        ("a.png,1,2,3,4,cat\na.png,1,2,3,x,cat\n", "line 2 has the box 1,2,3,x"),
        ("a.png,1,2,3,4,cat\na.png,1,,3,4,cat\n", "needs four numbers or four empty cells"),
        ("a.png,1,2,3,4,\n", "line 1 has class name ''"),
        ("path,x1,y1,x2,y2,class\n,1,2,3,4,cat\n", "line 2 has no path"),
        ('a.png,1,2,3,4,cat\n"a.png,1\n', "broken CSV"),
        ("path,x1,y1,x2,y2,class,split\na.png,1,2,3,4,cat,evening\n", "has split 'evening'"),
        (f"a.png,1,2,3,4,cat\na.png,1,2,3,4,{'c' * 200_000}\n", "broken CSV"),
    ],
)
def test_invalid_rows_are_errors(tmp_path, text, message):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(AnnotationError, match=rf"boxes\.csv: .*{message}"):
        read_csv_source(SourceFiles(tmp_path))


def test_a_table_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "boxes.csv").write_bytes("ä.png,1,2,3,4,cat\n".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"boxes\.csv: not UTF-8"):
        read_csv_source(SourceFiles(tmp_path))


def test_other_tables_are_ignored(tmp_path):
    (tmp_path / "results.csv").write_text("epoch,loss\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "cell_too_long.csv").write_text(f"a.png,1,2,3,4,{'c' * 200_000}\n")
    assert find_csv_files(SourceFiles(tmp_path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "/data/csv/images/a.png,1,2,3,4,cat\n",  # keras-retinanet's README
        "csv\\images\\a.png,1,2,3,4,cat\n",
        "a.png,1,2,3,4,cat,64,48\n",  # SKU-110K
        "a.png;1;2;3;4;cat\n",  # a spreadsheet of a language with decimal commas
        "cat,1,2,2,2,a.png,64,48\n",  # makesense
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\ncat,1,2,2,2,a.png,64,48\n",
        '"image","xmin","ymin","xmax","ymax","label"\n"a.png",1.0,2.0,3.0,4.0,"cat"\n',  # VoTT
        "image_path,xmin,ymin,xmax,ymax,label\na.png,1,2,3,4,cat\n",  # DeepForest
    ],
)
def test_tables_of_tools_are_read(tmp_path, text):
    (image,) = read(tmp_path, text).images
    assert (image.file, image.boxes[0].class_name) == (tmp_path / "a.png", "cat")
    assert image.boxes[0].xyxy == (1, 2, 3, 4)


def test_two_columns_of_one_meaning_are_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="columns label and category could both be the class; rename one"):
        read(tmp_path, "path,x1,y1,x2,y2,label,category\na.png,1,2,3,4,cat,animal\n")


def test_folders_of_images_give_the_splits_of_one_table(tmp_path):
    save_images(tmp_path, {"train/a.png": [], "val/b.png": []})
    found = read(tmp_path, "train/a.png,1,2,3,4,cat\nval/b.png,1,2,3,4,cat\n")
    assert [image.split for image in found.images] == ["train", "val"]


def test_an_image_in_two_tables_is_said(tmp_path):
    (tmp_path / "cats.csv").write_text("a.png,1,2,3,4,cat\n")
    found = read(tmp_path, "a.png,5,6,7,8,dog\n", "dogs.csv")
    assert len(found.images[0].boxes) == 2
    assert "1 images are in several tables, whose boxes are merged" in found.remarks[0]


def test_counts_of_classes_are_no_class_list(tmp_path):
    (tmp_path / "class_counts.csv").write_text("cow,120\ncat,7\n")
    assert read(tmp_path, "a.png,1,2,3,4,dog\n").class_names == []


def test_utf_16_is_read(tmp_path):
    save_images(tmp_path, {"a.png": []})
    (tmp_path / "boxes.csv").write_text("a.png,1,2,3,4,Bär\n", encoding="utf-16")
    assert read_csv_source(SourceFiles(tmp_path)).images[0].boxes[0].class_name == "Bär"
